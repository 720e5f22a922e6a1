"""One alarm clock for all pools of the process.

Its thread is a daemon that exists only while an alarm is set: it sleeps until the next one is due, with no ticking, and
ends when none is left. It keeps no pool alive: alarms hold weak references. After a fork the child starts with none.

``at`` may be called from inside the garbage collector, on a thread that is in the middle of this very code: a
connection that leaks comes back whenever the collector finds it. So nothing here takes a lock. Shared state is changed
by single steps of C code. Where that leaves a gap, a second thread starts: at worst an alarm rings too early.
"""

from __future__ import annotations

import _thread
import itertools
import logging
from heapq import heappop, heappush
from time import monotonic
from typing import TYPE_CHECKING, Final
from weakref import ref

from dbkit.runtime.bell import Bell
from dbkit.runtime.forks import in_child

if TYPE_CHECKING:
    from collections.abc import Callable

    Alarm = tuple[float, int, Callable[[], None]]

logger = logging.getLogger("dbkit.pool")

RECOVERY: Final = 1.0
"""Seconds that the clock rests after it ran out of memory."""


class Clock:
    """Calls back at a time. One thread for any number of alarms, asleep until the first is due.

    Invariants:

    1. The bell that ``_sleeper`` leads to belongs to the clock's thread, and lives as long as that, or less: so however
       the thread ended, or never began, the next alarm finds no bell and starts another thread.
    2. A thread that no longer owns that bell leaves. (Two callers may start one each at the same moment.)
    3. Alarms belong to the clock, not to its thread, and are removed by it alone.
    """

    def __init__(self) -> None:
        self.start_afresh()

    def start_afresh(self) -> None:
        """No alarm and no thread: at birth, and in a forked child."""
        self._alarms: list[Alarm] = []
        self._order = itertools.count()
        self._sleeper: Callable[[], Bell | None] = _nobody

    def at(self, when: float, ring: Callable[[], None]) -> None:
        """Call ``ring`` at this time of the monotonic clock, on the clock's thread; it must not block.

        If no thread can be had, the alarm is kept, and the next call tries again.
        """
        heappush(self._alarms, (when, next(self._order), ring))
        sleeper = self._sleeper()
        if sleeper is not None:
            sleeper.wake()
        else:
            self._start()

    def _start(self) -> None:
        try:
            _thread.start_new_thread(self._run, (self._new_bell(),))
        except (RuntimeError, MemoryError):
            logger.debug("no thread can be had for the clock of the pools; the next alarm tries again")

    def _new_bell(self) -> Bell:
        bell = Bell()
        self._sleeper = ref(bell)
        return bell

    def _run(self, bell: Bell) -> None:
        failed = False
        while self._sleeper() is bell:
            try:
                if failed:
                    bell.wait(RECOVERY)
                failed = False
                self._ring_or_sleep(bell)
            except Exception:  # noqa: BLE001 - out of memory: it must not end the upkeep of all pools
                failed = True
            except BaseException:  # this thread (or greenlet) is told to end: another one takes over
                self._start()
                raise

    def _ring_or_sleep(self, bell: Bell) -> None:
        if not self._alarms:
            self._sleeper = _nobody  # from here on an alarm starts a thread of its own
            if self._alarms and self._sleeper() is None:
                self._start()  # this one was set just before
            return
        left = self._alarms[0][0] - monotonic()
        if left > 0:
            bell.wait(left)
            return
        alarm = heappop(self._alarms)
        try:
            alarm[2]()
        except MemoryError:
            heappush(self._alarms, alarm)
            raise
        except Exception:
            logger.exception("a background job of the pool failed")


def _nobody() -> None:
    """In the place of a weak reference to a bell."""


clock: Final = Clock()
"""The process's."""

in_child(clock.start_afresh)
