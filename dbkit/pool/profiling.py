"""Samples borrows, so that ``profile()`` can say who uses the pool.

A borrow that is sampled goes by another name than its thread's number: a ``Borrower`` with a ``Sample``. So what is
known of it travels with it, is set at hand-over with the rest, and costs all other borrows one subtraction.
"""

from __future__ import annotations

import random
import sys
from time import monotonic
from typing import TYPE_CHECKING, Any

from dbkit.core.holding import Borrower
from dbkit.core.profile import EVERY, Sample, Samples
from dbkit.core.types import State
from dbkit.errors import Fault
from dbkit.pool.driver import LedgerDriver
from dbkit.pool.errors import PoolSettingsError
from dbkit.pool.holders import is_library
from dbkit.runtime.endpoints import current as current_endpoint

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from dbkit.core.ledger import Ledger
    from dbkit.core.matching import Lasting
    from dbkit.core.profile import Profile
    from dbkit.pool.slot import PooledSlot
    from dbkit.runtime.base import Waiter

_NEVER = sys.maxsize


class ProfilingPool(LedgerDriver):
    """The part of the pool that samples."""

    _every: int | None = EVERY
    """One borrow in so many is sampled; None for none."""

    def _start_afresh(self, lasting: Lasting | None) -> None:
        super()._start_afresh(lasting)
        self._begin_samples()

    def _begin_samples(self) -> None:
        self._samples = Samples(monotonic(), self._every or EVERY)
        self._until_sample = self._distance()
        """Borrows until the next one that is sampled. Threads may lose a step: then it comes a little later."""

    def _go_on_profiling(self, old: ProfilingPool) -> None:
        """This pool takes the place of an old one, whose borrowers may still be out: both share the samples."""
        self._every, self._samples = old._every, old._samples
        self._until_sample = self._distance()

    def _distance(self) -> int:
        return _NEVER if self._every is None else self._samples.distance(random.random())

    # ---- for users

    def profile(self) -> Profile:
        """Who uses the pool: which lines of the program, serving what, hold its connections and make others wait.

        Tells of the latest 4,096 sampled borrows, those still out included. Prints as a table. A program that says
        what it serves (``with dbkit.endpoint("GET /orders"):``) sees that too.
        """
        now = monotonic()
        waited = self._waited()

        def look(ledger: Ledger[PooledSlot, Waiter]) -> list[Sample]:
            out = []
            for slot in ledger.slots:
                holder = slot.holder
                if slot.state is State.IN_USE and isinstance(holder, Borrower) and holder.sample is not None:
                    holder.sample.look(now, since=slot.borrowed_at, waited=waited, in_use=ledger.in_use)
                    out.append(holder.sample)
            return out

        return self._samples.profile(now, self._step(look))

    def start_profile(self, every: int = EVERY) -> None:
        """Begin a new profile, in place of the one so far. A pool profiles from the start, one borrow in 64.

        Args:
            every: sample one borrow in so many; 1 for all of them, which costs some microseconds each.

        Raises:
            SettingsError: it is no whole number above 0; nothing was changed.
        """
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise PoolSettingsError([Fault("every", "must be a whole number, 1 or more", repr(every))])
        self._every = every
        self._begin_samples()

    def stop_profile(self) -> None:
        """Sample no more borrows. ``profile()`` goes on telling of those so far."""
        self._every = None
        self._until_sample = _NEVER

    # ---- for lending

    def _begin_sample(self) -> Sample:
        self._until_sample = self._distance()
        code, line = own_call(sys._getframe(3))
        return Sample(code, line, current_endpoint.get())

    def _end_sample(self, sample: Sample, since: float) -> None:
        now = monotonic()
        sample.look(now, since=since, waited=self._waited(), in_use=self._ledger.in_use)
        sample.ended = now
        self._samples.add(sample)

    def _waited(self) -> float:
        """Seconds that borrowers have waited in all so far, those who stand in line now included.

        Looks without the lock where nobody does. Where it cannot be asked, in a finalizer or a signal handler that
        interrupted a step, it tells of those who waited before: the borrow is blamed for less.
        """
        if self._ledger.line and not self._is_inside():
            return self._step(lambda ledger: ledger.waited(monotonic()))
        totals = self._ledger.totals
        return totals.wait_time.total + totals.waited_in_vain


def own_call(frame: FrameType) -> tuple[CodeType, int]:
    """The innermost call of the user's own code, from this frame of the calling thread on.

    SQLAlchemy's asyncio side runs in a greenlet, whose stack ends where the greenlet began: it goes on in its parent.
    """
    looked_at: FrameType | None = frame
    while looked_at is not None:
        file = looked_at.f_code.co_filename
        if not is_library(file) and not (file == "<string>" and _is_generated(looked_at)):
            return looked_at.f_code, looked_at.f_lineno
        looked_at = looked_at.f_back or _frame_of_parent(looked_at)
    return frame.f_code, frame.f_lineno


def _is_generated(frame: FrameType) -> bool:
    """Whether a library generated this code: SQLAlchemy 2.0 does not name it."""
    return frame.f_back is not None and is_library(frame.f_back.f_code.co_filename)


def _frame_of_parent(frame: FrameType) -> FrameType | None:
    """Where the greenlet that started this one stands; None if the frame is of no greenlet, or of no other's child."""
    greenlet: Any = sys.modules.get("greenlet")
    if greenlet is None:
        return None
    parent = greenlet.getcurrent().parent
    found: FrameType | None = None if parent is None else parent.gr_frame
    outermost = found
    while outermost is not None and outermost is not frame:
        outermost = outermost.f_back
    return None if outermost is frame else found
