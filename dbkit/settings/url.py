"""A database URL, taken apart.

Every form in use: ``postgres://``, ``postgresql://``, with ``+psycopg2`` or ``+psycopg``; libpq's several hosts
(``h1:5432,h2:5433``), SQLAlchemy's (``?host=h1:5432&host=h2:5433``), ``[::1]``, unix sockets (``?host=/run/pg`` or
``%2Frun%2Fpg``). Percent-encoding is undone everywhere; ``+`` means a space in the query, as SQLAlchemy writes it. A
part that is left out or empty is not given.

No function here raises for bad input, so that no traceback holds a frame in which the plaintext of a URL stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable
from urllib.parse import unquote, unquote_plus

from dbkit.settings.keys import CHOICES, CONCEALED, DRIVER, canonical
from dbkit.settings.secret import MASK, Secret

DEFAULT_PORT = "5432"


@runtime_checkable
class SqlalchemyUrl(Protocol):
    """The attributes of a URL object that dbkit reads; ``sqlalchemy.URL`` has them."""

    drivername: str
    username: str | None
    password: Any
    host: str | None
    port: int | None
    database: str | None
    query: Any

    def render_as_string(self, hide_password: bool = True) -> str: ...


Problem = tuple[str, str, str]
"""A key, what is wrong, and the value as it may be shown."""


@dataclass
class Parts:
    """A URL's content: ``pairs`` of a key (as written) and a value, in order, and what is wrong with it."""

    pairs: list[tuple[str, str | Secret]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, key: str, value: str | None) -> None:
        """Take a value unless it is empty; one that is or may be a secret is wrapped at once."""
        if value:
            self.pairs.append((key, Secret(value) if canonical(key) in CONCEALED else value))


_SHAPE = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*)://(?P<authority>[^/?]*)(?:/(?P<path>[^?]*))?(?:\?(?P<query>.*))?", re.S | re.A
)
_HOST_AND_PORT = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[^:]*))?", re.S)


def parse(secret: Secret) -> Parts:
    """Take a URL apart. It comes as a ``Secret``, and no plaintext of it leaves but in ``Secret`` values."""
    parts = Parts()
    text = secret.reveal().strip()
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        parts.problems.append(("url", "is not a URL; write postgresql://user:password@host:port/database", ""))
        return parts
    wrong = _take_scheme(parts, shape["scheme"])
    if wrong:
        parts.problems.append(("url", wrong, masked(text)))
        return parts
    login, at, hosts = shape["authority"].rpartition("@")
    path, query = shape["path"] or "", shape["query"] or ""
    items = [item.partition("=") for item in query.split("&") if item]
    if "@" in path or (
        "@" in query
        and (
            (":" in path and not at)  # a user's name with a slash, then a password with a question mark
            or any(not eq or _decoded_plus(k) is None or canonical(k) is None for k, eq, _ in items)
        )
    ):
        reason = "cannot be read for certain; write / ? and @ within a name or a password as %2F %3F %40"
        parts.problems.append(("url", reason, f"{shape['scheme']}://{MASK}"))
        return parts
    username, _, password = login.partition(":")
    _take(parts, "username", _decoded(username))
    _take(parts, "password", _decoded(password))
    if hosts:
        _take_hosts(parts, hosts.split(","), decode=True, show=bool(at))
    _take(parts, "database", _decoded(path))
    _take_query(parts, items)
    return parts


def take_apart(given: SqlalchemyUrl) -> Parts:
    """The same for a URL that was read already, whose parts need no decoding."""
    parts = Parts()
    wrong = _take_scheme(parts, given.drivername)
    if wrong:
        parts.problems.append(("url", wrong, f"{given.drivername}://{MASK}"))
        return parts
    parts.add("username", given.username)
    parts.add("password", None if given.password is None else str(given.password))
    parts.add("host", given.host)
    parts.add("port", None if given.port is None else str(given.port))
    parts.add("database", given.database)
    _take_options(
        parts,
        [(key, one) for key, value in given.query.items() for one in ((value,) if isinstance(value, str) else value)],
    )
    return parts


def _take_scheme(parts: Parts, scheme: str) -> str | None:
    """Take the driver that a scheme names, if any; or tell why dbkit cannot use a URL of this scheme."""
    dialect, _, driver = scheme.lower().partition("+")
    if dialect not in {"postgres", "postgresql"}:
        return "is not a PostgreSQL URL; it should begin with postgresql://"
    if driver and driver not in CHOICES[DRIVER]:
        forms = "postgresql+psycopg2:// (or postgresql://), or with postgresql+psycopg://"
        return f"asks for the driver {driver}; dbkit has psycopg2, psycopg and asyncpg: begin it with {forms}"
    parts.add(DRIVER, driver)
    return None


def masked(text: str) -> str:
    """A URL as it may be shown: without its password, and without any option that may hold one."""
    shape = _SHAPE.fullmatch(text.strip())
    if shape is None:
        return ""
    login, at, hosts = shape["authority"].rpartition("@")
    path, query = shape["path"], shape["query"]
    readable = all(re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?", element) for element in hosts.split(","))
    if "@" in (path or "") or "@" in (query or "") or not readable:
        return f"{shape['scheme']}://{MASK}"
    user, colon, _ = login.partition(":")
    if not at and ":" in hosts:  # user:password without its @ looks like host:port
        hosts = f"{hosts.partition(':')[0]}:{MASK}"
    shown = f"{shape['scheme']}://{user}{colon and ':' + MASK}{at}{hosts}"
    if path is not None:
        shown += f"/{path}"
    if query is not None:
        shown += "?" + "&".join(_masked_item(item) for item in query.split("&"))
    return shown


def _masked_item(item: str) -> str:
    name, equals, value = item.partition("=")
    key = canonical(unquote_plus(name))
    if key is None:
        return MASK
    return f"{name}{equals}{MASK if key in CONCEALED else value}"


def _decoded(text: str) -> str | None:
    """Percent-decoded; None where that gives no text."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return None


def _decoded_plus(text: str) -> str | None:
    return _decoded(text.replace("+", " "))


def _take(parts: Parts, key: str, value: str | None) -> None:
    if value is None:
        parts.problems.append((key, "is not UTF-8 once its percent-encoding is undone", ""))
    else:
        parts.add(key, value)


def _take_hosts(parts: Parts, elements: Iterable[str], *, decode: bool, show: bool) -> None:
    """``h1:5432,h2`` as libpq's two lists. A host without a port has the default one if another names its own."""
    hosts: list[str] = []
    ports: list[str] = []
    for element in elements:
        match = _HOST_AND_PORT.fullmatch(element)
        if not decode and (element.startswith(("/", "@")) or match is None):
            hosts.append(element)  # a socket's folder, or an IPv6 address without brackets
            ports.append("")
            continue
        if match is None:
            parts.problems.append(("host", "cannot be read; write IPv6 addresses in brackets, as in [::1]:5432", ""))
            return
        host = match["v6"] if match["v6"] is not None else match["name"]
        decoded = _decoded(host) if decode else host
        if decoded is None:
            parts.problems.append(("host", "is not UTF-8 once its percent-encoding is undone", ""))
            return
        port = match["port"] or ""
        if port and not show and not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
            parts.problems.append(
                ("port", "must be a number from 1 to 65535 (not shown: it may be a password that lacks its @host)", "")
            )
            return
        hosts.append(decoded)
        ports.append(port)
    if len(hosts) > 1 or hosts[0]:
        joined = ",".join(hosts)
        parts.pairs.append(("host", joined))
    if any(ports):
        parts.add("port", ",".join(port or DEFAULT_PORT for port in ports))


def _take_query(parts: Parts, items: Iterable[tuple[str, str, str]]) -> None:
    options: list[tuple[str, str]] = []
    for name, equals, value in items:
        key, text = _decoded_plus(name), _decoded_plus(value)
        if key is None or (text is None and canonical(key) is None) or not equals:
            parts.problems.append(("url", "has an option that is not written name=value after its ?", ""))
        elif text is None:
            _take(parts, canonical(key) or key, None)
        else:
            options.append((key, text))
    _take_options(parts, options)


def _take_options(parts: Parts, options: Iterable[tuple[str, str]]) -> None:
    hosts: list[str] = []
    ports: list[str] = []
    for key, value in options:
        if not value:
            continue
        if key == "host":
            hosts += value.split(",")
        elif key == "port":
            ports += value.split(",")
        elif key == "ssl" and value.lower() == "true":  # JDBC's, which libpq understands in a URL too
            parts.add("sslmode", "require")
        elif canonical(key):
            parts.add(key, value)
        else:
            parts.pairs.append((key, Secret(value)))  # an unknown key may be a misspelt password's
    if hosts:
        _take_hosts(parts, hosts, decode=False, show=True)
    if ports:
        parts.add("port", ",".join(ports))
