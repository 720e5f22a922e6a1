"""How many addresses a connection attempt may have to go through: a name has as many as the resolver says."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence


class Addresses:
    """The addresses behind a list of hosts, counted anew for each attempt: names may get others.

    Args:
        hosts: names, addresses and socket folders. None of them: libpq's own default, one address.
        look_up: whether each address of a name counts. False for a driver that gives a name one time in all.

    Attributes:
        names: the hosts whose addresses must be looked up, which may block.
    """

    __slots__ = ("_others", "names")

    def __init__(self, hosts: Sequence[str], *, look_up: bool) -> None:
        self.names = tuple(host for host in hosts if _is_name(host)) if look_up else ()
        self._others = len(hosts) - len(self.names)

    def count(self) -> int:
        """How many there are; at least one. A name that cannot be looked up counts as one: the driver says why."""
        return max(1, self._others + sum(map(_addresses_of, self.names)))


def _is_name(host: str) -> bool:
    if not host or host.startswith(("/", "@")):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _addresses_of(name: str) -> int:
    try:
        return len(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return 1
