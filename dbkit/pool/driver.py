"""The driver: has done what the ledger decides, on SQLAlchemy's pool.

With ``slot.py``, its record, and ``elastic.py``, its constructor and its operations, the only code that touches the
insides of SQLAlchemy's pool. It takes the lock, asks the ledger, releases the lock, and only then connects, closes,
pings, logs or calls hooks. What it keeps:

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
from sqlalchemy.pool.base import reset_none

from dbkit.errors import DbkitError, PoolTimeoutError
from dbkit.pool.holders import find_holders, tell
from dbkit.pool.ledger import Ledger
from dbkit.pool.liveness import FRESH, fit_to_keep, is_open
from dbkit.pool.outage import is_transient
from dbkit.pool.parts import Check, Close, Open, State
from dbkit.pool.slot import PooledSlot
from dbkit.pool.upkeep import call_at, run_in_background
from dbkit.pool.waiting import ThreadWaiter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.pool import ConnectionPoolEntry

    from dbkit.pool.holders import Holder
    from dbkit.pool.policy import PoolPolicy
    from dbkit.pool.stats import PoolStats

logger = logging.getLogger("dbkit.pool")


class LedgerDriver(Pool):
    """Borrowing and giving back, opening, checking, closing, as the ledger decides. ``ElasticPool`` is its public face.

    Args:
        policy: the pool's numbers.
        **pool_arguments: ``sqlalchemy.pool.Pool``'s own.
    """

    def __init__(self, policy: PoolPolicy, **pool_arguments: Any) -> None:
        self.policy = policy
        # A weak reference with a callback is cleared before finalizers run when a whole pool is collected at once.
        self._ref = weakref.ref(self, _nothing)
        self._start_afresh()
        super().__init__(**pool_arguments)
        self._fit_to_keep = is_open if self._reset_on_return is reset_none else fit_to_keep

    def _start_afresh(self) -> None:
        """An empty pool: at birth, and in a forked child."""
        self._lock = allocate_lock()
        self._owner = 0
        self._inbox: deque[tuple[PooledSlot, str | None]] = deque()
        self._alarm = float("inf")
        self._ledger: Ledger[PooledSlot, ThreadWaiter] = Ledger(self.policy, self._new_slot)

    def _new_slot(self) -> PooledSlot:
        return PooledSlot(self, self._ref)

    # ---- borrowing

    def _do_get(self) -> ConnectionPoolEntry:
        now = monotonic()
        slot = self._ledger.take(now)
        if slot is not None and (now - slot.idle_since < FRESH or self._looks_alive(slot, now)):
            slot.thread_id = get_ident()
            return slot
        return self._stand_in_line(slot, now)

    def _looks_alive(self, slot: PooledSlot, now: float) -> bool:
        """Without a round trip. One idle for so long that upkeep must have been asleep too is not trusted."""
        keepalive = self.policy.keepalive
        if keepalive is not None and now - max(slot.idle_since, slot.checked_at) > 2 * keepalive:
            return False
        return slot.peek.quiet()

    def _stand_in_line(self, suspect: PooledSlot | None, began: float) -> PooledSlot:
        waiter = ThreadWaiter(began)
        deadline = began + self.policy.timeout
        slot: PooledSlot | None = None
        try:
            self._join(waiter, suspect, first=False)
            while True:
                slot = self._await(waiter, deadline)
                now = monotonic()
                if now - slot.idle_since < FRESH or self._looks_alive(slot, now):
                    slot.thread_id = get_ident()
                    return slot
                suspect, slot, waiter.slot = slot, None, None
                self._join(waiter, suspect, first=True)
        except BaseException:
            with self._locked() as ledger:
                ledger.abandon(waiter, monotonic(), slot or waiter.slot)
            self._settle_up()
            raise

    def _join(self, waiter: ThreadWaiter, suspect: PooledSlot | None, *, first: bool) -> None:
        now = monotonic()
        self._refuse_to_wait_for_itself()
        with self._lock:
            self._owner = get_ident()
            try:
                ledger = self._ledger
                if suspect is not None:
                    ledger.suspect(suspect, now)
                ledger.join(waiter, now, first=first)
            finally:
                self._owner = 0
        self._settle_up()
        if ledger.reconnecting.failures:
            self._set_alarm()

    def _await(self, waiter: ThreadWaiter, deadline: float) -> PooledSlot:
        """Wait for the outcome: a slot, or the error raised here."""
        while True:
            in_time = waiter.wait(deadline - monotonic())
            if waiter.slot is None and waiter.error is None:
                with self._locked() as ledger:
                    if in_time:
                        ledger.look(waiter, monotonic())
                    else:
                        ledger.time_out(waiter, monotonic())
                self._settle_up()
            if waiter.error is not None:
                raise waiter.error
            slot: PooledSlot | None = waiter.slot
            if slot is not None:
                return slot
            if not in_time:
                raise self._timeout_error() from self._ledger.reconnecting.last_error

    def _timeout_error(self) -> PoolTimeoutError:
        with self._locked() as ledger:
            stats, trouble = ledger.stats(), ledger.reconnecting
        text = (
            f"no connection within {self.policy.timeout:g} s: {stats.in_use} in use, {stats.idle} idle, "
            f"{stats.opening} opening, of max_size {stats.max_size}; {stats.waiting} more waiting."
        )
        if trouble.last_error is not None:
            text += (
                f" The server cannot be reached: {trouble.failures} attempts failed in "
                f"{monotonic() - trouble.since:.1f} s, the last with: {str(trouble.last_error).strip()}"
            )
        elif holders := self.holders():
            text += " Held by:" + tell(holders, asking=get_ident())
        return PoolTimeoutError(text)

    # ---- giving back

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        slot: PooledSlot = record  # type: ignore[assignment]
        connection = slot.dbapi_connection
        if connection is None:
            self._enter(slot, "invalidated")  # or detached
        elif not self._fit_to_keep(connection):
            self._enter(slot, "unfit")
        elif self._ledger.give_back(slot, monotonic()):
            self._enter(slot)

    def _vanished(self, slot: PooledSlot) -> None:
        """Called by the finalizer of a slot that nobody knows any more."""
        self._enter(slot, "vanished")

    def _enter(self, slot: PooledSlot, why: str | None = None) -> None:
        """Have it entered under the lock: a slot to discard and why, or one given back that needs sorting out."""
        self._inbox.append((slot, why))
        self._settle_up()

    # ---- carrying out what the ledger decides

    @contextmanager
    def _locked(self) -> Iterator[Ledger[PooledSlot, ThreadWaiter]]:
        """The ledger, under the lock. ``_settle_up`` must follow. The busiest paths write this out."""
        self._refuse_to_wait_for_itself()
        with self._lock:
            self._owner = get_ident()
            try:
                yield self._ledger
            finally:
                self._owner = 0

    def _refuse_to_wait_for_itself(self) -> None:
        """
        Raises:
            DbkitError: this very thread is inside the lock, below a signal handler or a finalizer.
        """
        if self._owner == get_ident():
            raise DbkitError(
                "a signal handler or a finalizer used the pool while its thread was inside the pool's lock; "
                "let it set a flag, and do the work outside of it"
            )

    def _settle_up(self, *, close_here: bool = False) -> None:
        """Enter what lies in the inbox, then do all there is to do. Safe from anywhere; does nothing under the lock."""
        me = get_ident()
        if self._owner == me:
            return
        inbox, to_wake, todo = self._inbox, self._ledger.to_wake, self._ledger.todo
        while inbox or to_wake or todo:
            if inbox:
                now = monotonic()
                with self._lock:
                    self._owner = me
                    try:
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
                first = ledger.reconnecting.failures == 0
                ledger.open_failed(slot, error, monotonic(), transient=transient, jitter=random.random())
            (logger.warning if first else logger.debug)(
                "%s: connecting failed: %s", self._label(), str(error).strip() or type(error).__name__
            )
        else:
            now = monotonic()
            with self._locked() as ledger:
                failures = ledger.reconnecting.failures
                ledger.opened(slot, now, seconds=now - began, jitter=random.random())
            if failures:
                logger.info("%s: connected again after %d failed attempts", self._label(), failures)
        self._settle_up()
        self._set_alarm()

    def _check(self, slot: PooledSlot) -> None:
        alive = slot.ping(self._dialect)
        with self._locked() as ledger:
            ledger.checked(slot, monotonic(), alive=alive)
            others = [] if alive else list(ledger.idle)
        self._settle_up()
        # Where one died, others may have died with it: whoever has something to say is asked now, not by a borrower.
        loud = [other for other in others if not other.peek.quiet()]
        if loud:
            with self._locked() as ledger:
                for other in loud:
                    if other.state is State.IDLE:
                        ledger.suspect(other, monotonic())
            self._settle_up()
        self._set_alarm()

    def _close_slot(self, slot: PooledSlot, why: str) -> None:
        self.logger.debug("Closing connection %r (%s)", slot.dbapi_connection, why)
        if why == "dead":
            slot.invalidate()
        else:
            slot.close()

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
            call_at(due, partial(_ring, self._ref))

    def _upkeep(self) -> None:
        with self._locked() as ledger:
            self._alarm = float("inf")
            ledger.upkeep(monotonic())
        self._settle_up()
        self._set_alarm()

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
            borrowed = [(slot.thread_id, slot.borrowed_at) for slot in ledger.slots if slot.state is State.IN_USE]
        self._settle_up()
        return find_holders(borrowed, monotonic())

    def _label(self) -> str:
        return f"pool {self._orig_logging_name}" if self._orig_logging_name else "pool"


def _nothing(_: object) -> None:
    """The callback that a weak reference needs to be cleared early."""


def _ring(pool_ref: weakref.ref[LedgerDriver]) -> None:
    pool = pool_ref()
    if pool is not None:
        pool._upkeep()


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
