"""A borrower's decisions, as arithmetic: may a connection be trusted, and how long to sleep in line before looking.

Pure: no clock, no thread, no socket. ``pool/lending.py`` carries it out.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Final

from dbkit.core.types import quiet_since

if TYPE_CHECKING:
    from dbkit.core.types import Slot

FRESH: Final = 0.02
"""Seconds. A connection without a socket to look at, given back this short a time ago, is lent unchecked: the server
can vanish between a check and its use just as well."""

NAP: Final = 1.0
"""Seconds after which a waiter looks around uncalled, and twice as many the next time. Nothing depends on it, but for a
wake-up that an exception from outside cut off: the line then stands still no longer than this."""


class Trust(Enum):
    """A borrower's step with a connection before it uses it."""

    LEND = "use it"
    PEEK = "look at its socket; use it if the server said nothing"
    CHECK = "set it aside for a ping"


def trust(slot: Slot, now: float, *, keepalive: float | None, has_socket: bool) -> Trust:
    """How far a connection may be trusted.

    Args:
        slot: the connection's.
        now: the moment.
        keepalive: the pool's, in seconds. A connection that was quiet for twice as long was missed by upkeep, which
            must have been asleep too (a suspended laptop, a frozen container).
        has_socket: the connection has a socket to look at.
    """
    if keepalive is not None and now - quiet_since(slot) > 2 * keepalive:
        return Trust.CHECK
    if has_socket:
        return Trust.PEEK
    return Trust.LEND if now - quiet_since(slot) < FRESH else Trust.CHECK


class Next(Enum):
    """A waiter's step after it slept."""

    LOOK = "look around"
    LEAVE = "its time is up"


class Wait:
    """How long a waiter sleeps at a time: until its deadline, its breath or its nap, the first of them.

    Args:
        deadline: when it gives up.
    """

    __slots__ = ("_breath", "_deadline", "_expires", "_nap", "_naps")

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._breath = math.inf
        self._nap = NAP
        self._expires = self._naps = False

    def begin(self, now: float, at_most: float = math.inf) -> float:
        """Seconds to sleep now; never negative. ``at_most`` bounds this one sleep, if something is to be retried."""
        left = max(0.0, self._deadline - now)
        seconds = min(left, self._breath, self._nap, at_most)
        self._expires = seconds == left
        self._naps = seconds == self._nap
        return seconds

    def end(self, *, woken: bool) -> Next:
        """The sleep is over; ``woken`` by somebody, or by the clock."""
        if woken:
            return Next.LOOK
        if self._naps:
            self._nap *= 2
        return Next.LEAVE if self._expires else Next.LOOK

    def seconds_in_all(self, began: float) -> float:
        """How long the borrower, which began at this time, may wait in all."""
        return self._deadline - began

    def take_a_breath(self, seconds: float) -> None:
        """Look again after so many seconds at the latest, as ``Ledger.look`` said."""
        self._breath = seconds
