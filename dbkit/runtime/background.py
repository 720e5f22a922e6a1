"""What works in the background: one alarm clock for all pools of the process, and a thread for each job that may block.

Both are daemons that exist only while there is something to do: the clock sleeps until the next alarm is due, with no
ticking, and ends when none is left; a job's thread ends with the job. Neither keeps a pool alive: alarms hold weak
references, and a job ends with its work. After a fork the child starts with none of the parent's.

Everything here may be called from inside the garbage collector, on a thread that is in the middle of this very code:
a connection that leaks comes back whenever the collector finds it. So nothing here takes a lock it could find taken by
itself: a ``SimpleQueue`` may be put to from anywhere, threads are started by the primitive that needs no lock, and the
one lock there is, is only ever tried.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
from _thread import allocate_lock, start_new_thread
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Alarm = tuple[float, int, Callable[[], None]]

logger = logging.getLogger("dbkit.pool")


def run_in_background(job: Callable[[], None]) -> None:
    """Have a job that may block (a connect, a ping, a close) done on a thread of its own.

    A job never waits for a thread: it would be a borrower waiting behind another pool's black hole. What bounds the
    number of threads is what bounds the jobs, each pool's ``max_size``. Where no thread can be had, as while the
    interpreter goes down, the job is done right here.
    """
    try:
        start_new_thread(_do, (job,))
    except RuntimeError:
        _do(job)


def _do(job: Callable[[], None]) -> None:
    try:
        job()
    except Exception:
        logger.exception("a background job of the pool failed")


class Clock:
    """Calls back at a time. One thread for any number of alarms, asleep until the first is due."""

    def __init__(self) -> None:
        self._new: SimpleQueue[Alarm] = SimpleQueue()
        self._order = itertools.count()
        self._running = allocate_lock()
        """Held while the thread lives. Only ever tried."""

    def at(self, when: float, ring: Callable[[], None]) -> None:
        """Call ``ring`` at this time of the monotonic clock, on the clock's thread; it must not block."""
        self._new.put((when, next(self._order), ring))
        if self._running.acquire(False):
            try:
                start_new_thread(self._run, ())
            except RuntimeError:  # the interpreter is going down: nothing will be due any more
                self._running.release()

    def _run(self) -> None:
        alarms: list[Alarm] = []
        while True:
            try:
                wait = alarms[0][0] - monotonic() if alarms else 0.0
                heapq.heappush(alarms, self._new.get(wait > 0, min(max(wait, 0.0), TIMEOUT_MAX)))
                continue
            except Empty:
                pass
            if alarms and alarms[0][0] <= monotonic():
                _do(heapq.heappop(alarms)[2])
            elif not alarms:
                self._running.release()
                # An alarm put since the look above found the clock running and left it to us.
                if self._new.empty() or not self._running.acquire(False):
                    return


class _Background:
    """What a process has of all this; a forked child gets its own."""

    clock = Clock()


def call_at(when: float, ring: Callable[[], None]) -> None:
    """Call ``ring`` at this time of the monotonic clock, in the background; it must not block."""
    _Background.clock.at(when, ring)


def _after_fork_in_child() -> None:
    _Background.clock = Clock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
