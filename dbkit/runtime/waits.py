"""Waits that are given up at a moment, unless they end before: for a server that neither answers nor goes away.

Whoever waits in a driver's C code cannot look at a clock. So the process's clock looks, and ends the wait from outside.
Invariants:

1. A wait ends once: by itself, or by being given up. Both sides ask under the wait's own lock, and ``give_up`` runs
   under it. So when ``end()`` has returned, nothing will touch what the wait was for: it may go to somebody else.
2. A wait that nobody knows any more is never given up: the clock holds it weakly.
3. One alarm serves all waits. A wait that is no earlier than the pending alarm costs no alarm of its own.
"""

from __future__ import annotations

import _thread
import itertools
import weakref
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from dbkit.core.schedule import Alarm
from dbkit.runtime import background
from dbkit.runtime.forks import in_child

if TYPE_CHECKING:
    from collections.abc import Callable


class BoundedWait:
    """A wait of this thread, until ``at`` at the latest. It begins with ``begin()``.

    Args:
        at: the moment, by the monotonic clock.
        give_up: ends the wait from another thread, and returns True; or finds that there is nothing to end, and returns
            False. Must not block.

    Attributes:
        given_up: whether it was given up.
    """

    __slots__ = ("__weakref__", "_give_up", "_lock", "_number", "at", "given_up")

    def __init__(self, at: float, give_up: Callable[[], bool]) -> None:
        self.at = at
        self.given_up = False
        self._give_up: Callable[[], bool] | None = give_up
        self._lock = _thread.allocate_lock()
        self._number = -1

    def begin(self) -> None:
        """From now on it may be given up."""
        self._number = _waits.add(self)

    def end(self) -> bool:
        """It is over. May be called again.

        Returns:
            Whether it ended by itself; False if it was given up.
        """
        with self._lock:
            self._give_up = None
        _waits.remove(self._number)
        return not self.given_up

    def come_due(self) -> None:
        """Give it up, if it is not over."""
        with self._lock:
            give_up, self._give_up = self._give_up, None
            if give_up is not None:
                self.given_up = give_up()

    # What a borrower leaves open on a connection is closed when it comes back (``drivers/cursors.py``). A wait that
    # an exception from outside kept from ending is closed there, too.

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self._give_up is None

    def close(self) -> None:
        """End it."""
        self.end()


class _Waits:
    """All waits of the process. Changed by single steps of C code: no lock that a finalizer could find taken."""

    def __init__(self) -> None:
        self.start_afresh()

    def start_afresh(self) -> None:
        """No waits: at birth, and in a forked child, whose threads wait for nothing."""
        self._under_way: dict[int, weakref.ref[BoundedWait]] = {}
        self._numbers = itertools.count()
        self._alarm = Alarm()

    def add(self, wait: BoundedWait) -> int:
        number = next(self._numbers)
        self._under_way[number] = weakref.ref(wait)  # first: a ring from here on finds it
        self._ring_at(wait.at)
        return number

    def remove(self, number: int) -> None:
        self._under_way.pop(number, None)

    def _ring_at(self, when: float) -> None:
        alarm = self._alarm
        if alarm.wants(when):
            background.clock.at(when, partial(self._ring, alarm, when))
            alarm.asked(when)

    def _ring(self, alarm: Alarm, due: float) -> None:
        alarm.rang(due)  # before looking: who adds a wait after the look asks for a ring of its own
        earliest, now = float("inf"), monotonic()
        for number, reference in self._under_way.copy().items():
            wait = reference()
            if wait is None:
                self.remove(number)
            elif wait.at <= now:
                self.remove(number)
                wait.come_due()
            else:
                earliest = min(earliest, wait.at)
        if earliest < float("inf"):
            self._ring_at(earliest)


_waits: Final = _Waits()

in_child(_waits.start_afresh)
