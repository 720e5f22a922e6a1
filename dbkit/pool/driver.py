"""Carries out the ledger's decisions on SQLAlchemy's pool.

It takes the lock, asks the ledger, releases the lock, and only then connects, closes, pings, logs or calls hooks.
This file carries out; ``lending.py`` lends and takes back; ``elastic.py`` is the class that users see. Invariants:

1. Under the lock there is no I/O, no hook, no logging and no waiting.
2. A borrower does no I/O either: connection attempts and pings are jobs of the runtime, while it waits in line. So one
   deadline covers everything, Ctrl-C gets through, and the connection that is there first serves it.
3. A connection may come back inside the garbage collector or a signal handler, on the very thread that holds the lock.
   The lock knows its owner, so such a return waits in the inbox, which its thread empties after it released the lock.
   Most borrows and returns need no lock at all (see ``core/ledger.py``).
4. A slot whose holder vanished without giving it back - an exception from outside, at any moment - is found by its
   finalizer, or by its death, and its room is given to the next.
5. Nobody connects for another. A job that finds no thread stays in ``todo`` and is tried again; waiters have their
   deadlines.
"""

from __future__ import annotations

import logging
import random
import weakref
from collections import deque
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from sqlalchemy.pool import Pool

from dbkit.core.ledger import Ledger
from dbkit.core.log_fields import fields
from dbkit.core.matching import Lasting
from dbkit.core.reasons import CloseReason
from dbkit.core.schedule import Alarm
from dbkit.core.types import Check, Close, Open, Refused, State
from dbkit.errors import DbkitError
from dbkit.events import Both, Closed, Leaked, Opened
from dbkit.pool import jobs
from dbkit.pool.errors import as_sqlalchemy_error
from dbkit.pool.holders import find_holders
from dbkit.pool.internals import forget_first_connect, log_label, logging_name_of
from dbkit.pool.interrupting import cancel_of_main_thread
from dbkit.pool.slot import PooledSlot
from dbkit.runtime import interrupts
from dbkit.runtime.threads import ThreadRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbkit.core.holding import Holder
    from dbkit.core.policy import PoolPolicy
    from dbkit.core.stats import PoolStats
    from dbkit.drivers.base import Driver
    from dbkit.events import Observer
    from dbkit.runtime.base import Runtime, Waiter

logger = logging.getLogger("dbkit.pool")

TRY_AGAIN: Final = 0.25
"""Seconds until a job that found no thread, or an upkeep that was struck, is tried again."""

T = TypeVar("T")


class LedgerDriver(Pool):
    """Opens, checks, closes and wakes, as the ledger decides.

    Args:
        policy: the pool's numbers.
        driver: asks connections what the pool wants to know.
        observer: is told of single events; None for nobody.
        require_writer: refuse servers that let nobody write.
        lasting: what the pool that this one replaces handed on.
        **pool_arguments: ``sqlalchemy.pool.Pool``'s own.
    """

    _runtime_class: ClassVar[type[Runtime]] = ThreadRuntime
    """Of which the pool makes its runtime, at birth and in a forked child."""

    def __init__(
        self,
        policy: PoolPolicy,
        *,
        driver: Driver,
        observer: Observer | None,
        require_writer: bool,
        lasting: Lasting | None,
        **pool_arguments: Any,
    ) -> None:
        self.policy = policy
        self.require_writer = require_writer
        self.driver = driver
        self._observer = observer
        # A weak reference with a callback is cleared before finalizers run when a whole pool is collected at once.
        self._ref = weakref.ref(self, _nothing)
        self._start_afresh(lasting)
        super().__init__(**pool_arguments)
        if not driver.hears_interrupts:
            interrupts.tell(self, cancel_of_main_thread)

    def _start_afresh(self, lasting: Lasting | None) -> None:
        """An empty pool: at birth, and in a forked child."""
        self._runtime = self._runtime_class()
        self._lock = self._runtime.lock()
        self._is_inside: Callable[[], bool] = self._lock.is_mine
        """Whether this thread holds the lock, and this code runs in the midst of that."""
        self._inbox: deque[tuple[PooledSlot, CloseReason | None]] = deque()
        self._births: set[weakref.ref[PooledSlot]] = set()
        self._deaths: deque[weakref.ref[PooledSlot]] = deque()
        """Slots that are no more, noted by the interpreter itself: where an exception from outside strikes even the
        finalizer, this remains."""
        self._alarm = Alarm()
        self._no_thread = False
        """The last job found no thread."""
        self._ledger: Ledger[PooledSlot, Waiter] = Ledger(self.policy, self._new_slot, lasting)

    def _after_fork_in_child(self) -> None:
        """Start empty. Inherited connections are forgotten, not closed: a close would end the parent's sessions."""
        inherited, ledger = list(self._ledger.slots), self._ledger
        self._start_afresh(Lasting(closed=ledger.closed, paused=ledger.paused))
        forget_first_connect(self)
        for slot in inherited:
            slot.forget()

    def _new_slot(self) -> PooledSlot:
        slot = PooledSlot(self, self._ref)
        self._births.add(weakref.ref(slot, self._deaths.append))
        return slot

    # ---- carrying out what the ledger decides

    def _vanished(self, slot: PooledSlot) -> None:
        """Called by the finalizer of a slot that nobody knows any more."""
        self._enter(slot, CloseReason.VANISHED)

    def _enter(self, slot: PooledSlot, reason: CloseReason | None = None) -> None:
        """Queue a slot that is to be discarded, or one given back that is to be sorted out; then empty the queue."""
        self._inbox.append((slot, reason))
        self._settle_up()

    def _step(self, step: Callable[[Ledger[PooledSlot, Waiter]], T], *, close_here: bool = False) -> T:
        """Take one step in the ledger, under the lock, and then carry out what follows from it.

        The lock is entered nowhere else but where the inbox is emptied, and never by a context manager written in
        Python: an exception from outside that strikes inside of one would leave the lock held.

        Raises:
            DbkitError: this thread is inside already, below a signal handler or a finalizer.
            LineFullError, PoolClosedError: the ledger refused the step.
        """
        if self._is_inside():
            raise DbkitError(
                "a signal handler or a finalizer used the pool while its thread was inside the pool's lock; "
                "let it set a flag, and do the work outside of it"
            )
        try:
            with self._lock:
                result = step(self._ledger)
        except Refused as refused:
            self._settle_up(close_here=close_here)
            raise as_sqlalchemy_error(refused) from None
        if self._ledger.to_wake or self._ledger.todo or self._inbox or self._deaths:
            self._settle_up(close_here=close_here)
        return result

    def _settle_up(self, *, close_here: bool = False) -> None:
        """Empty the inbox, then do all there is to do. Safe from anywhere; does nothing under the lock."""
        if self._is_inside():
            return
        inbox, deaths, to_wake, todo = self._inbox, self._deaths, self._ledger.to_wake, self._ledger.todo
        while True:
            if inbox or deaths:
                with self._lock:
                    vanished = self._empty_inbox()
                for _ in range(vanished):
                    self._tell("closed", Closed(why=CloseReason.VANISHED))
            elif to_wake and not (todo and self._ledger.closed):  # a closed pool closes first, and says so then
                _wake_next(to_wake)
            elif not todo or not self._do_next(close_here=close_here or self._ledger.closed):
                return

    def _empty_inbox(self) -> int:
        """Enter what came in. Returns how many slots were found to have vanished."""
        now = monotonic()
        while self._inbox:
            slot, reason = self._inbox.popleft()
            if reason is None:
                self._ledger.sort_out(slot, now)
            else:
                self._ledger.discard(slot, now, reason)
            del slot
        if not self._deaths:
            return 0
        while self._deaths:
            self._births.discard(self._deaths.popleft())
        return self._ledger.recount(now)

    def _do_next(self, *, close_here: bool) -> bool:
        """Do one thing that is to be done. False if it has to wait until there is a thread for it."""
        todo = self._ledger.todo
        try:
            action = todo.popleft()
        except IndexError:  # another thread was quicker
            return True
        spawned = True
        match action:
            case Open(slot, context):
                spawned = self._runtime.spawn(partial(jobs.connect, self, slot), context)
            case Check(slot):
                spawned = self._runtime.spawn(partial(jobs.check, self, slot), None)
            case Close(slot, reason):
                self._close(partial(jobs.close, self, slot, reason), here=close_here)
        if not spawned:
            todo.appendleft(action)
            if not self._no_thread:
                logger.warning(
                    "%s: no thread can be started; connections are opened when one can",
                    log_label(self),
                    extra=fields("no_thread", logging_name_of(self)),
                )
            self._runtime.call_at(monotonic() + TRY_AGAIN, partial(_ring, self._ref, monotonic()))
        self._no_thread = not spawned
        return spawned

    def _close(self, close: Callable[[], None], *, here: bool) -> None:
        """Have a connection closed: by the caller, or by a job of its own if one can be started."""
        if here or not self._runtime.spawn(close, None):
            close()

    def _failure(self, slot: PooledSlot, error: BaseException) -> BaseException:
        """The error to tell of, for a connection attempt that ended with this one."""
        return error

    # ---- a slot that its holder connects again (``pre_ping``, a ``checkout`` event)

    def _reopening(self) -> int:
        return self._step(Ledger.reopening)

    def _reopened(self, slot: PooledSlot, generation: int, seconds: float) -> None:
        def step(ledger: Ledger[PooledSlot, Waiter]) -> None:
            ledger.reopened(slot, generation, monotonic(), seconds=seconds, jitter=random.random())

        self._step(step)
        self._tell("closed", Closed(why=CloseReason.INVALIDATED))
        self._tell("opened", Opened(seconds=seconds))

    # ---- upkeep

    def _set_alarm(self) -> None:
        due = self._step(lambda ledger: ledger.next_due(monotonic()))
        if self._alarm.wants(due):
            self._runtime.call_at(due, partial(_ring, self._ref, due))
            self._alarm.asked(due)

    def _upkeep(self, due: float) -> None:
        now = monotonic()
        self._alarm.rang(due)

        def step(ledger: Ledger[PooledSlot, Waiter]) -> list[PooledSlot]:
            ledger.upkeep(now)
            return ledger.leaks(now)

        for slot in self._step(step):
            self._leaked(slot, now)
        self._set_alarm()

    def _leaked(self, slot: PooledSlot, now: float) -> None:
        [holder] = find_holders([slot.borrow], now, self._runtime.look_at)
        logger.warning(
            "%s: a connection has been out for %.1f s, longer than leak_after: %s",
            log_label(self),
            holder.seconds,
            holder,
            extra=fields("leaked", logging_name_of(self), seconds=holder.seconds, thread=holder.thread),
        )
        self._tell("leaked", Leaked(thread=holder.thread, seconds=holder.seconds, borrowed_at=holder.borrowed_at))

    def add_observer(self, observer: Observer) -> None:
        """Tell this one of single events too, beside the one that the pool was made with. Kept by a rebuilt pool."""
        self._observer = observer if self._observer is None else Both(self._observer, observer)

    def _tell(self, what: str, fact: object) -> None:
        if self._observer is None:
            return
        try:
            getattr(self._observer, what)(fact)
        except Exception:
            logger.exception(
                "%s: the observer failed in %s()",
                log_label(self),
                what,
                extra=fields("observer_failed", logging_name_of(self)),
            )

    # ---- for users to see

    def stats(self) -> PoolStats:
        """The pool's numbers at this moment, in one consistent snapshot."""
        return self._step(lambda ledger: ledger.stats())

    def holders(self) -> tuple[Holder, ...]:
        """Who has a connection: thread or task, for how long, and where that is now. The oldest first."""
        return self._holders(monotonic())

    def _holders(self, now: float) -> tuple[Holder, ...]:
        borrows = self._step(lambda ledger: [slot.borrow for slot in ledger.slots if slot.state is State.IN_USE])
        return find_holders(borrows, now, self._runtime.look_at)


def _nothing(_: object) -> None:
    """The callback that a weak reference needs to be cleared early."""


def _ring(pool_ref: weakref.ref[LedgerDriver], due: float) -> None:
    pool = pool_ref()
    if pool is None:
        return
    try:
        pool._upkeep(due)
    except BaseException:  # a MemoryError, say: the pool's upkeep must not end with it
        pool._runtime.call_at(monotonic() + TRY_AGAIN, partial(_ring, pool_ref, due))
        raise


def _wake_next(to_wake: deque[Waiter]) -> None:
    try:
        waiter = to_wake.popleft()
    except IndexError:  # another thread was quicker
        return
    try:
        waiter.wake()
    except BaseException:  # interrupted or not, the waiter must not sleep on
        waiter.wake()
        raise
