"""Where a password travels: what decides whether a token may be sent there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_EXPOSED = {
    "disable": "sends it unencrypted",
    "allow": "may send it unencrypted",
    "prefer": "may send it unencrypted",
    "require": "encrypts it for any server that answers",
    "verify-ca": "encrypts it for any server with a certificate of that CA",
}
_REMEDY = (
    "set sslmode=verify-full with sslrootcert=system, or with the file of the provider's CA certificates (to do "
    "without, set allow_insecure_token=true)"
)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a connection goes, and whether an attacker in between could read or take its content.

    Attributes:
        hosts: the servers' names, addresses or socket folders, as libpq will go to them: ``hostaddr`` where given, else
            ``host``. Empty (or one empty text of several) where libpq's own default, a unix socket, applies, or where
            only a service knows.
        sslmode: libpq's ``sslmode``; None where it is not set, or only a service may set it.
        local: every host is a unix socket or a loopback address: nothing leaves the machine.
        verified: libpq encrypts, and checks that it is the right server (``verify-full``).
        service: the service (``service``, ``PGSERVICE``) that may decide, unseen, what the settings leave open; None
            where there is none, or nothing is open.
    """

    hosts: tuple[str, ...]
    sslmode: str | None
    local: bool
    verified: bool
    service: str | None = None

    def refusal(self) -> str | None:
        """Why a token must not travel here and what to do, as one clause; None where it may."""
        if self.local or self.verified:
            return None
        if self.service is not None:
            return _printable(
                f"the service {self.service} may decide, unseen by dbkit, where a token would go and how; give host "
                f"(or hostaddr) and sslmode to dbkit, which go over the service: {_REMEDY}"
            )
        hosts = ", ".join(host for host in self.hosts if not is_local(host))
        mode = f"sslmode={self.sslmode}" if self.sslmode else "libpq's default sslmode"
        exposed = _EXPOSED.get(self.sslmode or "prefer", "is no protection")
        return _printable(f"a token would go over the network to {hosts}, and {mode} {exposed}; {_REMEDY}")


def find_route(*, host: str | None, hostaddr: str | None, sslmode: str | None, service: str | None,
               variables: Mapping[str, str]) -> Route:  # fmt: skip
    """The route libpq takes.

    libpq looks each parameter up by itself: in what it is given, else in the service, else in its variables. So a
    ``PGHOSTADDR`` goes over a given ``host``, and so may a service's ``hostaddr``.

    Args:
        host: what the settings say; None for what they leave to libpq. So for the next three.
        hostaddr: as ``host``.
        sslmode: as ``host``.
        service: as ``host``.
        variables: libpq's variables; ``LIBPQ_VARIABLES`` are looked at.
    """
    service = service or variables.get("PGSERVICE") or None
    if service is None:
        hostaddr = hostaddr or variables.get("PGHOSTADDR") or None
        host = host or variables.get("PGHOST") or None
        sslmode = sslmode or variables.get("PGSSLMODE") or None
    hosts = _hosts(host, hostaddr)
    local, verified = all(map(is_local, hosts)), sslmode == "verify-full"
    if service is None:
        return Route(hosts, sslmode, local, verified)
    if not hosts or sslmode is None:
        return Route(hosts, sslmode, local=False, verified=False, service=service)
    if local and hostaddr is None:  # the service may have a hostaddr, and packets go there
        return Route(hosts, sslmode, local=False, verified=verified, service=service)
    return Route(hosts, sslmode, local, verified)


def _hosts(host: str | None, hostaddr: str | None) -> tuple[str, ...]:
    """Host by host, the address if there is one, else the name."""
    names = host.split(",") if host else []
    addresses = hostaddr.split(",") if hostaddr else []
    if len(names) != len(addresses):  # one of the two is not there; or libpq refuses them
        return tuple(addresses or names)
    return tuple(address or name for name, address in zip(names, addresses, strict=True))


def is_local(host: str) -> bool:
    """Whether this host is this machine: a socket's folder (empty: libpq's default), or a loopback address."""
    if not host or host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    if ":" not in host and not host[0].isdigit():
        return False
    import ipaddress  # only for an address

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
