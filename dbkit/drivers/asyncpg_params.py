"""libpq's connection parameters, as asyncpg takes them. Pure but for ``keep_alive``.

What asyncpg cannot do is refused by name: a parameter that is dropped in silence would be believed.
"""

from __future__ import annotations

import socket as sockets
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from dbkit.errors import Fault, SettingsError

_RENAMED: Final = {"dbname": "database", "connect_timeout": "timeout"}
_AS_THEY_ARE: Final = frozenset({"user", "password", "passfile", "target_session_attrs", "service", "servicefile"})
_IN_A_DSN: Final = frozenset(
    {
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslpassword",
        "sslcrl",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "krbsrvname",
        "gsslib",
    }
)
_FOR_THE_SERVER: Final = frozenset({"application_name", "options", "client_encoding"})
_FOR_THE_SOCKET: Final = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}
_OWN: Final = frozenset(
    {
        "statement_cache_size",
        "max_cached_statement_lifetime",
        "max_cacheable_statement_size",
        "command_timeout",
        "connection_class",
        "record_class",
        "ssl",
        "direct_tls",
        "prepared_statement_cache_size",
        "prepared_statement_name_func",
    }
)
"""asyncpg's and SQLAlchemy's own, from ``connect_args``."""


def arguments(params: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of ``asyncpg.connect``.

    Raises:
        SettingsError: naming the parameters that asyncpg has no counterpart of.
    """
    given: dict[str, Any] = {}
    in_dsn: dict[str, str] = {}
    for_server: dict[str, str] = dict(params.get("server_settings") or {})
    unknown = []
    for name, value in params.items():
        if name == "host":
            hosts = str(value).split(",")
            given["host"] = hosts if len(hosts) > 1 else hosts[0]
        elif name == "port":
            ports = [int(port) for port in str(value).split(",")]
            given["port"] = ports if len(ports) > 1 else ports[0]
        elif name in _RENAMED:
            given[_RENAMED[name]] = float(value) if name == "connect_timeout" else value
        elif name in _AS_THEY_ARE or name in _OWN:
            given[name] = value
        elif name in _IN_A_DSN:
            in_dsn[name] = str(value)
        elif name in _FOR_THE_SERVER:
            for_server[name] = str(value)
        elif name == "fallback_application_name":
            for_server.setdefault("application_name", str(value))
        elif name == "keepalives" or name in _FOR_THE_SOCKET or name == "server_settings":
            pass
        elif name == "gssencmode" and value == "disable":
            pass  # asyncpg never encrypts by Kerberos
        else:
            unknown.append(Fault(name, "is a parameter of libpq's that the driver asyncpg does not have; use psycopg"))
    if unknown:
        raise SettingsError(unknown)
    if in_dsn:
        given["dsn"] = f"postgresql:///?{urlencode(in_dsn)}"
    if for_server:
        given["server_settings"] = for_server
    return given


def one_by_one(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The arguments for each host alone, in turn: asyncpg's own ``timeout`` is for all of them, and libpq's for each.

    Args:
        given: what ``arguments`` made.
    """
    hosts, ports = given.get("host"), given.get("port")
    if not isinstance(hosts, list) or (isinstance(ports, list) and len(ports) != len(hosts)):
        yield dict(given)  # asyncpg says what is wrong with it
        return
    wanted = given.get("target_session_attrs")
    for each in ("standby", "any") if wanted == "prefer-standby" else (wanted,):
        for place, host in enumerate(hosts):
            one = {**given, "host": host, "target_session_attrs": each}
            if isinstance(ports, list):
                one["port"] = ports[place]
            yield one


def keep_alive(socket: Any, params: Mapping[str, Any]) -> None:
    """Set what libpq sets on its sockets, so that a network that went away is noticed. Not on unix sockets."""
    if socket is None or socket.family not in (sockets.AF_INET, sockets.AF_INET6):
        return
    if "keepalives" in params:
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, int(params["keepalives"]))
    for name, option in _FOR_THE_SOCKET.items():
        if name in params and hasattr(sockets, option):
            socket.setsockopt(sockets.IPPROTO_TCP, getattr(sockets, option), int(params[name]))
