"""The time limits of one event loop's waiters and jobs, behind one timer of the loop.

Nearly every limit is given up before it strikes, many thousand a second. The loop's own timers compare themselves in
Python; here a limit is a tuple in a heap, compared in C, and the loop has one timer for the first of them. A limit that
was given up stays in the heap until it would have struck, or until half of the heap is such, and then is nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from heapq import heapify, heappop, heappush
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Limit = list[Callable[[], object] | None]

MANY: Final = 1000
"""Limits in the heap below which nobody minds those that were given up."""


class LoopClock:
    """Calls back when time is up. For use on the loop's own thread alone.

    Args:
        loop: the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Limit]] = []
        self._order = itertools.count()
        self._next = math.inf
        """When the loop's timer rings; infinity for no timer."""
        self._timer: asyncio.TimerHandle | None = None
        self._given_up = 0

    def limit(self, seconds: float, strike: Callable[[], object]) -> Limit:
        """Call ``strike`` after so many seconds, unless the limit is given up before."""
        when = monotonic() + seconds
        limit: Limit = [strike]
        heappush(self._heap, (when, next(self._order), limit))
        if when < self._next:
            self._set(when)
        return limit

    def give_up(self, limit: Limit) -> None:
        """Never mind. May be called again, also after it struck."""
        if limit[0] is None:
            return
        limit[0] = None  # it keeps nothing alive
        self._given_up += 1
        if self._given_up > MANY and self._given_up * 2 > len(self._heap):
            self._heap[:] = [entry for entry in self._heap if entry[2][0] is not None]
            heapify(self._heap)
            self._given_up = 0

    def _set(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = self._loop.call_later(max(0.0, when - monotonic()), self._ring)

    def _ring(self) -> None:
        self._timer, self._next = None, math.inf
        now = monotonic()
        heap = self._heap
        while heap and (heap[0][0] <= now or heap[0][2][0] is None):
            limit = heappop(heap)[2]
            strike, limit[0] = limit[0], None
            if strike is None:
                self._given_up = max(0, self._given_up - 1)
            else:
                strike()
        if heap and heap[0][0] < self._next:
            self._set(heap[0][0])
