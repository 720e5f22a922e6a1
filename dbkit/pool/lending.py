"""Lending and taking back: what SQLAlchemy asks of a pool."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NoReturn

from dbkit.core.borrowing import Next, Trust, Wait, trust
from dbkit.core.explain import Standstill, describe, why_timed_out
from dbkit.core.holding import Borrower, Caller
from dbkit.core.log_fields import fields
from dbkit.core.policy import check_seconds
from dbkit.core.reasons import CloseReason
from dbkit.core.types import State
from dbkit.events import CameBack, NotServed, Waited
from dbkit.pool.creator import Creator
from dbkit.pool.driver import TRY_AGAIN
from dbkit.pool.errors import DeadlineExceeded, PoolSettingsError, PoolTimeoutError, as_sqlalchemy_error
from dbkit.pool.holders import SharedReport
from dbkit.pool.internals import creator_of, log_label, logging_name_of
from dbkit.pool.liveness import is_silent
from dbkit.pool.profiling import ProfilingPool
from dbkit.runtime.deadlines import current as current_deadline

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable

    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from dbkit.core.ledger import Ledger
    from dbkit.core.matching import Lasting
    from dbkit.core.policy import PoolPolicy
    from dbkit.pool.slot import PooledSlot
    from dbkit.runtime.base import Waiter

logger = logging.getLogger("dbkit.pool")

A_MOMENT: Final = 0.005
"""Seconds before a deadline at which a borrow that ends counts as ended by it: both moments are read one by one."""

_borrow_timeout: ContextVar[tuple[weakref.ref[Any], float] | None] = ContextVar("dbkit_borrow_timeout", default=None)
"""How long the borrow under way may take, and from which pool, where that is not the pool's ``timeout``."""


class LendingPool(ProfilingPool):
    """The borrower's side of the pool."""

    _is_untouched: Callable[[Any, Any], bool]
    """Says of a connection that comes back, and of how it behaved when it was opened, that it needs no more thought."""
    _fit_to_keep: Callable[[Any], bool]
    """Says of a connection that comes back whether it may be used again."""
    _keeps_manners: bool
    """Whether a connection that comes back is put back as it was opened: not where the user wants no reset."""

    def __init__(self, policy: PoolPolicy, **arguments: Any) -> None:
        super().__init__(policy, **arguments)
        self._trusted_for = 2 * policy.keepalive if policy.keepalive is not None else math.inf
        """Seconds. A connection given back less long ago needs a look at its socket, and no more thought."""
        self._remembers_where = policy.leak_after is not None

    def _start_afresh(self, lasting: Lasting | None) -> None:
        super()._start_afresh(lasting)
        self._report: SharedReport[Standstill] = SharedReport()

    # ---- borrowing

    def borrow(self, timeout: float | None = None) -> PoolProxiedConnection:
        """As ``connect()``, with a timeout of its own.

        Args:
            timeout: seconds to wait in all; the pool's own ``timeout`` if None.

        Raises:
            every error of ``connect()``.
            SettingsError: ``timeout`` is no number of seconds.
        """
        if timeout is None:
            return self.connect()
        with self.patience(timeout):
            return self.connect()

    @contextmanager
    def patience(self, timeout: float) -> Iterator[None]:
        """For the length of the block, this context's borrows from this pool wait so long, however they are made.

        Args:
            timeout: seconds each borrow may wait in all.

        Raises:
            SettingsError: ``timeout`` is no number of seconds.
        """
        refuse_bad_seconds("timeout", timeout)
        token = _borrow_timeout.set((self._ref, timeout))
        try:
            yield
        finally:
            _borrow_timeout.reset(token)

    def _until(self, began: float) -> float:
        """The moment at which a borrower that began then has waited long enough."""
        given = _borrow_timeout.get()
        timeout = given[1] if given is not None and given[0] is self._ref else self.policy.timeout
        deadline = current_deadline.get()
        return began + timeout if deadline is None else max(began, min(began + timeout, deadline.at))

    def _do_get(self) -> ConnectionPoolEntry:
        now = monotonic()
        self._until_sample -= 1
        known_by_number = self._until_sample > 0 and not self._remembers_where
        holder = self._runtime.who() if known_by_number else self._borrower()
        slot = self._ledger.take(now, holder)
        if slot is None or not self._is_good(slot, now):
            slot = self._stand_in_line(slot, now, holder)
        if not known_by_number:
            self._know_more_of(slot, holder)
        return slot

    def _borrower(self) -> Borrower:
        site = self._runtime.call_site() if self._remembers_where else ()
        return Borrower(self._runtime.who(), site, None if self._until_sample > 0 else self._begin_sample())

    def _know_more_of(self, slot: PooledSlot, holder: Caller) -> None:
        if isinstance(holder, Borrower) and holder.sample is not None:
            holder.sample.waited_before = self._waited()
        if self._remembers_where:
            self._set_leak_alarm(slot)

    def _set_leak_alarm(self, slot: PooledSlot) -> None:
        leak_after = self.policy.leak_after
        if leak_after is not None and self._alarm.wants(slot.borrowed_at + leak_after):
            self._set_alarm()

    def _is_good(self, slot: PooledSlot, now: float) -> bool:
        """Whether the connection may be lent. Asks without a round trip; ``core/borrowing.py`` has the reasons."""
        peek = slot.peek
        if peek is not None and now - slot.idle_since < self._trusted_for:
            try:
                return not peek(0)
            except RuntimeError:  # another thread peeks at this moment
                return is_silent(peek)
        # As of the moment it was lent: a waiter that wakes up late must not cause check after check.
        verdict = trust(slot, slot.borrowed_at, keepalive=self.policy.keepalive, has_socket=peek is not None)
        return verdict is Trust.LEND or (verdict is Trust.PEEK and peek is not None and is_silent(peek))

    def _stand_in_line(self, suspect: PooledSlot | None, began: float, holder: Caller) -> PooledSlot:
        waiter = self._runtime.waiter(began, holder, copy_context())
        wait = Wait(self._until(began))
        slot: PooledSlot | None = None
        try:
            self._join(waiter, suspect)
            while True:
                slot = self._await(waiter, wait)
                now = monotonic()
                if self._is_good(slot, now):
                    if self._observer is not None:
                        self._tell("waited", Waited(seconds=now - began))
                    return slot
                suspect, slot, waiter.slot = slot, None, None
                self._join(waiter, suspect)
        except BaseException as error:
            # No other name for the error: it would make a cycle of this frame and the error's traceback, and a slot
            # that is lost in there would wait for the garbage collector.
            now = monotonic()
            self._step(lambda ledger: ledger.abandon(waiter, now, slot or waiter.slot))
            self._tell("not_served", NotServed(seconds=now - began, error=error))
            waiter.error = None  # another such cycle
            raise
        finally:
            deadline = current_deadline.get()
            if deadline is not None:
                deadline.stood_in_line(began, monotonic())

    def _join(self, waiter: Waiter, suspect: PooledSlot | None) -> None:
        """Stand in line; in front, if the slot that this borrower was lent is suspect."""

        def step(ledger: Ledger[PooledSlot, Waiter]) -> int:
            now = monotonic()
            if suspect is not None:
                ledger.suspect(suspect, now)
            ledger.join(waiter, now, first=suspect is not None)
            return ledger.reconnecting.failures

        if self._step(step):
            self._set_alarm()

    def _await(self, waiter: Waiter, wait: Wait) -> PooledSlot:
        """Wait for the outcome: a slot, or the error raised here."""
        while True:
            seconds = wait.begin(monotonic(), TRY_AGAIN if self._no_thread else math.inf)
            following = wait.end(woken=waiter.wait(seconds))
            if waiter.slot is None and waiter.error is None:
                if following is Next.LEAVE:
                    self._step(lambda ledger: ledger.time_out(waiter, monotonic()))
                else:
                    wait.take_a_breath(self._step(lambda ledger: ledger.look(waiter, monotonic())))
            if waiter.error is not None:
                raise as_sqlalchemy_error(waiter.error)
            slot: PooledSlot | None = waiter.slot
            if slot is not None:
                return slot
            if following is Next.LEAVE:
                self._raise_timeout(waiter.since, wait.seconds_in_all(waiter.since))

    def _raise_timeout(self, began: float, waited: float) -> NoReturn:
        """Raise the error of a borrower whose time is up. Those that time out together share one look at the pool."""
        standstill = self._report.get(began, self._describe)
        message = why_timed_out(waited, standstill, asking=self._runtime.who(), began=began, kind=self._runtime.kind)
        deadline = current_deadline.get()
        if deadline is not None and deadline.left() <= A_MOMENT:
            spent = deadline.spent(in_line_since=began)
            raise DeadlineExceeded(
                f"the deadline of {deadline.seconds:g} s is past: {spent}. {message}",
                seconds=deadline.seconds,
                spent=spent,
            ) from self._ledger.reconnecting.last_error
        raise PoolTimeoutError(message) from self._ledger.reconnecting.last_error

    def _describe(self) -> Standstill:
        stats, trouble, paused = self._step(lambda ledger: (ledger.stats(), ledger.reconnecting, ledger.paused))
        now = monotonic()
        creator = creator_of(self)
        pending = creator.pending() if isinstance(creator, Creator) and stats.opening else None
        return describe(stats, trouble, self._holders(now), paused=paused, pending=pending, now=now)

    # ---- giving back

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        slot: PooledSlot = record  # type: ignore[assignment]
        if slot.holder.__class__ is Borrower and slot.state is State.IN_USE:
            self._note_return(slot)
        connection = slot.dbapi_connection
        if connection is None:
            self._enter(slot, CloseReason.INVALIDATED if slot.generation < 0 else CloseReason.DETACHED)
        elif not self._is_untouched(connection, slot.manners) and not self._put_in_order(slot, connection):
            self._enter(slot, CloseReason.UNFIT)
        else:
            try:
                if self._ledger.give_back(slot, monotonic()):
                    self._enter(slot)
            except BaseException:  # interrupted, perhaps after it lay idle and before anybody was told
                self._enter(slot)
                raise

    def _put_in_order(self, slot: PooledSlot, connection: Any) -> bool:
        """Make the connection behave as it did when it was opened. False: it is not fit to be kept."""
        driver = self.driver
        if not self._fit_to_keep(connection):
            return False
        if not self._keeps_manners:
            return True
        if not driver.behaves_as(connection, slot.manners):
            try:
                driver.set_state(connection, slot.manners)
            except Exception:
                logger.warning(
                    "%s: a connection could not be put back as it was opened",
                    log_label(self),
                    exc_info=True,
                    extra=fields("not_restored", logging_name_of(self)),
                )
                return False
            return driver.close_cursors(connection) and driver.is_clean(connection)
        return driver.close_cursors(connection)

    def _note_return(self, slot: PooledSlot) -> None:
        if slot.leak_told_at == slot.borrowed_at:
            self._came_back(slot, monotonic())
        if isinstance(slot.holder, Borrower) and slot.holder.sample is not None:
            self._end_sample(slot.holder.sample, slot.borrowed_at)

    def _came_back(self, slot: PooledSlot, now: float) -> None:
        seconds = now - slot.borrowed_at
        logger.info(
            "%s: a connection reported as leaked came back after %.1f s",
            log_label(self),
            seconds,
            extra=fields("came_back", logging_name_of(self), seconds=seconds),
        )
        self._tell("came_back", CameBack(seconds=seconds))


def refuse_bad_seconds(name: str, value: object) -> None:
    """Refuse what is no number of seconds, before anything happens.

    Raises:
        SettingsError: naming the argument and the value.
    """
    faults = check_seconds(name, value)
    if faults:
        raise PoolSettingsError(faults)
