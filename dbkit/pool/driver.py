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
   finalizer, and its room is given to the next.
"""

from __future__ import annotations

import logging
import random
import weakref
from _thread import allocate_lock, get_ident
from collections import deque
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy.pool import Pool

from dbkit.errors import DbkitError
from dbkit.events import Closed, Leaked, Opened, OpenFailed
from dbkit.pool.holders import find_holders
from dbkit.pool.ledger import Ledger
from dbkit.pool.outage import is_transient
from dbkit.pool.parts import Check, Close, Open, State
from dbkit.pool.slot import PooledSlot
from dbkit.pool.upkeep import call_at, run_in_background
from dbkit.pool.waiting import ThreadWaiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbkit.events import Observer
    from dbkit.pool.holders import Holder
    from dbkit.pool.policy import PoolPolicy
    from dbkit.pool.stats import PoolStats

logger = logging.getLogger("dbkit.pool")


class LedgerDriver(Pool):
    """Opens, checks, closes and wakes, as the ledger decides.

    Args:
        policy: the pool's numbers.
        observer: is told of single events; None for nobody.
        require_writer: refuse servers that let nobody write.
        fit_to_keep: says of a connection that comes back whether it may be used again.
        **pool_arguments: ``sqlalchemy.pool.Pool``'s own.
    """

    def __init__(
        self,
        policy: PoolPolicy,
        *,
        observer: Observer | None,
        require_writer: bool,
        fit_to_keep: Callable[[Any], bool],
        **pool_arguments: Any,
    ) -> None:
        self.policy = policy
        self.require_writer = require_writer
        self._observer = observer
        self._fit_to_keep = fit_to_keep
        # A weak reference with a callback is cleared before finalizers run when a whole pool is collected at once.
        self._ref = weakref.ref(self, _nothing)
        self._start_afresh()
        super().__init__(**pool_arguments)

    def _start_afresh(self) -> None:
        """An empty pool: at birth, and in a forked child."""
        self._lock = allocate_lock()
        self._owner = 0
        self._inbox: deque[tuple[PooledSlot, str | None]] = deque()
        self._alarm = float("inf")
        self._ledger: Ledger[PooledSlot, ThreadWaiter] = Ledger(self.policy, self._new_slot)

    def _new_slot(self) -> PooledSlot:
        return PooledSlot(self, self._ref)

    # ---- carrying out what the ledger decides

    def _vanished(self, slot: PooledSlot) -> None:
        """Called by the finalizer of a slot that nobody knows any more."""
        self._enter(slot, "vanished")

    def _enter(self, slot: PooledSlot, why: str | None = None) -> None:
        """Have it entered under the lock: a slot to discard and why, or one given back that needs sorting out."""
        self._inbox.append((slot, why))
        self._settle_up()

    @contextmanager
    def _locked(self) -> Iterator[Ledger[PooledSlot, ThreadWaiter]]:
        """The ledger, under the lock. ``_settle_up`` must follow. The busiest paths write this out."""
        me = self._who()
        with self._lock:
            try:
                self._owner = me
                yield self._ledger
            finally:
                self._owner = 0

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
        inbox, to_wake, todo = self._inbox, self._ledger.to_wake, self._ledger.todo
        while inbox or to_wake or todo:
            if inbox:
                now = monotonic()
                with self._lock:
                    try:
                        self._owner = me
                        while inbox:
                            slot, why = inbox.popleft()
                            if why is None:
                                self._ledger.sort_out(slot, now)
                            else:
                                self._ledger.discard(slot, now, why)
                    finally:
                        self._owner = 0
            while to_wake:
                _wake_next(to_wake)
            if todo:
                self._do_next(close_here=close_here)

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
            transient = is_transient(error)
            with self._locked() as ledger:
                ledger.open_failed(slot, error, monotonic(), transient=transient, jitter=random.random())
                failures = ledger.reconnecting.failures
            (logger.warning if failures == 1 else logger.debug)(
                "%s: connecting failed: %s", self._label(), str(error).strip() or type(error).__name__
            )
            self._tell("open_failed", OpenFailed(error=error, transient=transient, failures=failures))
        else:
            now = monotonic()
            with self._locked() as ledger:
                failures = ledger.reconnecting.failures
                ledger.opened(slot, now, seconds=now - began, jitter=random.random())
            if failures:
                logger.info("%s: connected again after %d failed attempts", self._label(), failures)
            self._tell("opened", Opened(seconds=now - began))
        self._settle_up()
        self._set_alarm()

    def _check(self, slot: PooledSlot) -> None:
        alive = slot.ping(self._dialect, demand_writer=self.require_writer)
        with self._locked() as ledger:
            ledger.checked(slot, monotonic(), alive=alive)
            others = [] if alive else list(ledger.idle)
        self._settle_up()
        # Where one died, others may have died with it: whoever has something to say is asked now, not by a borrower.
        loud = [other for other in others if not other.peek.quiet()]
        if loud:
            with self._locked() as ledger:
                for other in loud:
                    ledger.suspect_idle(other, monotonic())
            self._settle_up()
        self._set_alarm()

    def _close_slot(self, slot: PooledSlot, why: str) -> None:
        self.logger.debug("Closing connection %r (%s)", slot.dbapi_connection, why)
        if why == "dead":
            slot.invalidate()
        else:
            slot.close()
        self._tell("closed", Closed(why=why))

    # ---- upkeep

    def _set_alarm(self) -> None:
        now = monotonic()
        with self._locked() as ledger:
            due = ledger.next_due(now)
            earlier = due < self._alarm
            if earlier:
                self._alarm = due
        self._settle_up()
        if earlier:
            call_at(due, partial(_ring, self._ref, due))

    def _upkeep(self, due: float) -> None:
        with self._locked() as ledger:
            if due != self._alarm:  # an earlier one was set meanwhile, and took over
                return
            self._alarm = float("inf")
            now = monotonic()
            ledger.upkeep(now)
            leaks = ledger.leaks(now)
        self._settle_up()
        for slot in leaks:
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

    def _renewed(self, slot: PooledSlot) -> None:
        """SQLAlchemy reconnected a slot that is out (``pre_ping``, ``recycle``, a ``checkout`` event)."""
        with self._locked() as ledger:
            ledger.renewed(slot, monotonic(), jitter=random.random())
        self._settle_up()

    # ---- what there is to see

    def stats(self) -> PoolStats:
        """The pool's numbers at this moment, in one consistent snapshot."""
        with self._locked() as ledger:
            stats = ledger.stats()
        self._settle_up()
        return stats

    def holders(self) -> tuple[Holder, ...]:
        """Who has a connection: thread, for how long, and where that thread is now. The oldest first."""
        with self._locked() as ledger:
            borrows = [slot.borrow for slot in ledger.slots if slot.state is State.IN_USE]
        self._settle_up()
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
