"""The driver: has done what the ledger decides, on SQLAlchemy's pool.

It takes the lock, asks the ledger, releases the lock, and only then connects, closes, pings, logs or calls hooks.
This file carries out; ``lending.py`` lends and takes back; ``elastic.py`` is what users see. Those three and the record
in ``slot.py`` are all that touches the insides of SQLAlchemy's pool. What they keep:

1. Under the lock there is no I/O, no hook, no logging and no waiting.
2. A borrower does no I/O either: connects and pings happen on threads of their own, while he waits in line. So one
   deadline covers everything, Ctrl-C gets through, and whichever connection is there first is his.
3. A connection may come back inside the garbage collector or a signal handler, on the very thread that holds the lock:
   ``_owner`` tells. It then lies in the inbox, and that thread looks there after letting go. Most borrows and returns
   need no lock at all (see ``ledger.py``).
4. A slot whose holder vanished without giving it back - an exception from anywhere, at any moment - is found by its
   finalizer, or by its death, and its room is given to the next.
"""

from __future__ import annotations

import logging
import random
import weakref
from _thread import allocate_lock, get_ident
from collections import deque
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.pool import Pool

from dbkit.core.ledger import Ledger
from dbkit.core.types import Check, Close, Open, State
from dbkit.diagnosis.outage import is_transient
from dbkit.errors import DbkitError
from dbkit.events import Closed, Leaked, Opened, OpenFailed
from dbkit.pool.holders import find_holders
from dbkit.pool.slot import PooledSlot
from dbkit.runtime.background import call_at, run_in_background
from dbkit.runtime.threads import ThreadWaiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbkit.core.policy import PoolPolicy
    from dbkit.core.stats import PoolStats
    from dbkit.events import Observer
    from dbkit.pool.holders import Holder

logger = logging.getLogger("dbkit.pool")

T = TypeVar("T")


class LedgerDriver(Pool):
    """Opens, checks, closes and wakes, as the ledger decides.

    Args:
        policy: the pool's numbers.
        observer: is told of single events; None for nobody.
        require_writer: refuse servers that let nobody write.
        **pool_arguments: ``sqlalchemy.pool.Pool``'s own.
    """

    def __init__(
        self,
        policy: PoolPolicy,
        *,
        observer: Observer | None,
        require_writer: bool,
        **pool_arguments: Any,
    ) -> None:
        self.policy = policy
        self.require_writer = require_writer
        self._observer = observer
        # A weak reference with a callback is cleared before finalizers run when a whole pool is collected at once.
        self._ref = weakref.ref(self, _nothing)
        self._start_afresh()
        super().__init__(**pool_arguments)

    def _start_afresh(self) -> None:
        """An empty pool: at birth, and in a forked child."""
        self._lock = allocate_lock()
        self._owner = 0
        self._inbox: deque[tuple[PooledSlot, str | None]] = deque()
        self._births: set[weakref.ref[PooledSlot]] = set()
        self._deaths: deque[weakref.ref[PooledSlot]] = deque()
        """Slots that are no more, noted by the interpreter itself: where an exception from outside strikes even the
        finalizer, this remains."""
        self._alarm = float("inf")
        """When upkeep is due next."""
        self._alarms: set[float] = set()
        """The times for which the clock was asked to ring."""
        self._ledger: Ledger[PooledSlot, ThreadWaiter] = Ledger(self.policy, self._new_slot)

    def _new_slot(self) -> PooledSlot:
        slot = PooledSlot(self, self._ref)
        self._births.add(weakref.ref(slot, self._deaths.append))
        return slot

    # ---- carrying out what the ledger decides

    def _vanished(self, slot: PooledSlot) -> None:
        """Called by the finalizer of a slot that nobody knows any more."""
        self._enter(slot, "vanished")

    def _enter(self, slot: PooledSlot, why: str | None = None) -> None:
        """Have it entered under the lock: a slot to discard and why, or one given back that needs sorting out."""
        self._inbox.append((slot, why))
        self._settle_up()

    def _step(self, step: Callable[[Ledger[PooledSlot, ThreadWaiter]], T], *, close_here: bool = False) -> T:
        """Take one step in the ledger, under the lock, and then do what follows from it.

        The lock is entered nowhere else but where the inbox is emptied, and never by a context manager written in
        Python: an exception from outside that strikes inside of one would leave the lock held.
        """
        me = self._who()
        with self._lock:
            try:
                self._owner = me
                result = step(self._ledger)
            finally:
                self._owner = 0
        self._settle_up(close_here=close_here)
        return result

    def _is_inside(self, me: int) -> bool:
        """Whether the thread with this number is inside the lock, and this code runs in the midst of that."""
        return self._owner == me and self._lock.locked()

    def _who(self) -> int:
        """The number of this thread, which is about to take the lock.

        Raises:
            DbkitError: it is inside already, below a signal handler or a finalizer, and would wait for itself.
        """
        me = get_ident()
        if self._is_inside(me):
            raise DbkitError(
                "a signal handler or a finalizer used the pool while its thread was inside the pool's lock; "
                "let it set a flag, and do the work outside of it"
            )
        return me

    def _settle_up(self, *, close_here: bool = False) -> None:
        """Enter what lies in the inbox, then do all there is to do. Safe from anywhere; does nothing under the lock."""
        me = get_ident()
        if self._is_inside(me):
            return
        inbox, deaths, to_wake, todo = self._inbox, self._deaths, self._ledger.to_wake, self._ledger.todo
        while inbox or deaths or to_wake or todo:
            if inbox or deaths:
                with self._lock:
                    try:
                        self._owner = me
                        self._enter_what_came_in()
                    finally:
                        self._owner = 0
            if todo and (self._ledger.closed or not to_wake):
                self._do_next(close_here=close_here or self._ledger.closed)
            elif to_wake:
                _wake_next(to_wake)

    def _enter_what_came_in(self) -> None:
        now = monotonic()
        while self._inbox:
            slot, why = self._inbox.popleft()
            if why is None:
                self._ledger.sort_out(slot, now)
            else:
                self._ledger.discard(slot, now, why)
            del slot
        if self._deaths:
            while self._deaths:
                self._births.discard(self._deaths.popleft())
            self._ledger.recount(now)

    def _do_next(self, *, close_here: bool) -> None:
        try:
            action = self._ledger.todo.popleft()
        except IndexError:  # another thread was quicker
            return
        match action:
            case Open(slot):
                run_in_background(partial(self._open, slot))
            case Check(slot):
                run_in_background(partial(self._check, slot))
            case Close(slot, why) if close_here:
                self._close_slot(slot, why)
            case Close(slot, why):
                run_in_background(partial(self._close_slot, slot, why))

    def _open(self, slot: PooledSlot) -> None:
        began = monotonic()
        try:
            slot.get_connection()
            while slot._is_hard_or_soft_invalidated():  # the pool was invalidated while this was under way
                slot.get_connection()
        except BaseException as error:  # noqa: BLE001 - whatever it is goes to whoever waits
            self._failed_to_open(slot, error)
        else:
            self._opened(slot, monotonic() - began)
        self._set_alarm()

    def _opened(self, slot: PooledSlot, seconds: float) -> None:
        def step(ledger: Ledger[PooledSlot, ThreadWaiter]) -> int:
            failures = ledger.reconnecting.failures
            ledger.opened(slot, monotonic(), seconds=seconds, jitter=random.random())
            return failures

        failures = self._step(step)
        if failures:
            logger.info("%s: connected again after %d failed attempts", self._label(), failures)
        self._tell("opened", Opened(seconds=seconds))

    def _failed_to_open(self, slot: PooledSlot, error: BaseException) -> None:
        transient = is_transient(error)

        def step(ledger: Ledger[PooledSlot, ThreadWaiter]) -> int:
            ledger.open_failed(slot, error, monotonic(), transient=transient, jitter=random.random())
            return ledger.reconnecting.failures

        failures = self._step(step)
        (logger.warning if failures == 1 else logger.debug)(
            "%s: connecting failed: %s", self._label(), str(error).strip() or type(error).__name__
        )
        self._tell("open_failed", OpenFailed(error=error, transient=transient, failures=failures))

    def _check(self, slot: PooledSlot) -> None:
        alive = slot.ping(self._dialect, demand_writer=self.require_writer)
        self._step(lambda ledger: ledger.checked(slot, monotonic(), alive=alive))
        if not alive:
            self._look_at_the_others()
        self._set_alarm()

    def _look_at_the_others(self) -> None:
        """Where one died, others may have died with it: whoever has something to say is asked before it is lent."""
        idle = self._step(lambda ledger: list(ledger.idle))
        loud = [slot for slot in idle if not slot.peek.quiet()]
        for slot in loud:
            self._step(partial(Ledger.suspect_idle, slot=slot, now=monotonic()))

    def _close_slot(self, slot: PooledSlot, why: str) -> None:
        self.logger.debug("Closing connection %r (%s)", slot.dbapi_connection, why)
        if why == "dead":
            slot.invalidate()
        else:
            slot.close()
        self._tell("closed", Closed(why=why))

    # ---- upkeep

    def _set_alarm(self) -> None:
        def step(ledger: Ledger[PooledSlot, ThreadWaiter]) -> float | None:
            due = ledger.next_due(monotonic())
            if due >= self._alarm:
                return None
            self._alarm = due
            if due in self._alarms:
                return None
            self._alarms.add(due)
            return due

        due = self._step(step)
        if due is not None:
            call_at(due, partial(_ring, self._ref, due))

    def _upkeep(self, due: float) -> None:
        now = monotonic()

        def step(ledger: Ledger[PooledSlot, ThreadWaiter]) -> list[PooledSlot]:
            self._alarms.discard(due)
            if due != self._alarm:  # an earlier one was set meanwhile, and took over
                return []
            self._alarm = float("inf")
            ledger.upkeep(now)
            return ledger.leaks(now)

        for slot in self._step(step):
            self._leaked(slot, now)
        self._set_alarm()

    def _leaked(self, slot: PooledSlot, now: float) -> None:
        [holder] = find_holders([slot.borrow], now)
        logger.warning(
            "%s: a connection has been out for %.1f s, longer than leak_after: %s",
            self._label(),
            holder.seconds,
            holder,
        )
        self._tell("leaked", Leaked(thread=holder.thread, seconds=holder.seconds, borrowed_at=holder.borrowed_at))

    def _tell(self, what: str, fact: object) -> None:
        if self._observer is None:
            return
        try:
            getattr(self._observer, what)(fact)
        except Exception:
            logger.exception("%s: the observer failed in %s()", self._label(), what)

    def _reopened(self, slot: PooledSlot, seconds: float) -> None:
        """SQLAlchemy reconnected a slot that is out (``pre_ping``, a ``checkout`` event)."""
        why = slot.retire_why
        self._step(lambda ledger: ledger.reopened(slot, monotonic(), seconds=seconds, jitter=random.random()))
        self._tell("closed", Closed(why=why))
        self._tell("opened", Opened(seconds=seconds))

    # ---- what there is to see

    def stats(self) -> PoolStats:
        """The pool's numbers at this moment, in one consistent snapshot."""
        return self._step(lambda ledger: ledger.stats())

    def holders(self) -> tuple[Holder, ...]:
        """Who has a connection: thread, for how long, and where that thread is now. The oldest first."""
        borrows = self._step(lambda ledger: [slot.borrow for slot in ledger.slots if slot.state is State.IN_USE])
        return find_holders(borrows, monotonic())

    def _label(self) -> str:
        return f"pool {self._orig_logging_name}" if self._orig_logging_name else "pool"


def _nothing(_: object) -> None:
    """The callback that a weak reference needs to be cleared early."""


def _ring(pool_ref: weakref.ref[LedgerDriver], due: float) -> None:
    pool = pool_ref()
    if pool is not None:
        pool._upkeep(due)


def _wake_next(to_wake: deque[ThreadWaiter]) -> None:
    try:
        waiter = to_wake.popleft()
    except IndexError:  # another thread was quicker
        return
    try:
        waiter.wake()
    except BaseException:  # interrupted or not, he must not sleep on
        waiter.wake()
        raise
