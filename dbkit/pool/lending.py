"""Lending and taking back: what SQLAlchemy asks of a pool."""

from __future__ import annotations

import logging
import sys
from _thread import get_ident
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from dbkit.core.policy import find_faults
from dbkit.core.types import quiet_since
from dbkit.errors import SettingsError
from dbkit.events import CameBack, NotServed, Waited
from dbkit.pool.driver import LedgerDriver
from dbkit.pool.errors import PoolTimeoutError
from dbkit.pool.explain import why_timed_out
from dbkit.pool.holders import call_site
from dbkit.pool.liveness import FRESH
from dbkit.runtime.threads import Patience, ThreadWaiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from dbkit.core.ledger import Ledger
    from dbkit.core.policy import PoolPolicy
    from dbkit.pool.slot import PooledSlot

logger = logging.getLogger("dbkit.pool")

NAP: Final = 1.0
"""Seconds after which a waiter looks around uncalled, and twice as many the next time. Nothing depends on it, but for a
wake-up that an exception from outside cut off: the line then stands still no longer than this."""


class LendingPool(LedgerDriver):
    """The borrower's side of the pool."""

    _fit_to_keep: Callable[[Any], bool]
    """Says of a connection that comes back whether it may be used again."""

    def __init__(self, policy: PoolPolicy, **arguments: Any) -> None:
        super().__init__(policy, **arguments)
        self._patience = Patience()
        if policy.leak_after is not None:
            self._do_get = self._do_get_and_remember_where  # type: ignore[method-assign]

    # ---- borrowing

    def borrow(self, timeout: float | None = None) -> PoolProxiedConnection:
        """As ``connect()``, with a timeout of its own.

        Args:
            timeout: seconds to wait in all; the pool's own ``timeout`` if None.

        Raises:
            whatever ``connect()`` raises.
            SettingsError: ``timeout`` is no number of seconds.
        """
        faults = [] if timeout is None else find_faults({"timeout": timeout}, {})
        if faults:
            raise SettingsError(faults)
        before, self._patience.seconds = self._patience.seconds, timeout
        try:
            return self.connect()
        finally:
            self._patience.seconds = before

    def _do_get(self) -> ConnectionPoolEntry:
        now = monotonic()
        slot = self._ledger.take(now)
        if (
            slot is not None
            and slot.starttime >= self._invalidate_time  # else the pool was invalidated just now
            and (now - slot.idle_since < FRESH or self._looks_alive(slot, now))
        ):
            slot.thread_id = get_ident()
            return slot
        return self._stand_in_line(slot, now)

    def _do_get_and_remember_where(self) -> ConnectionPoolEntry:
        """``_do_get`` of a pool that reports leaks."""
        slot = cast("PooledSlot", LendingPool._do_get(self))
        slot.leak_told = False
        slot.borrowed_from = call_site(sys._getframe(1))
        if slot.borrowed_at + cast("float", self.policy.leak_after) < self._alarm:
            self._set_alarm()
        return slot

    def _looks_alive(self, slot: PooledSlot, now: float) -> bool:
        """Without a round trip. One idle for so long that upkeep must have been asleep too is not trusted."""
        keepalive = self.policy.keepalive
        if keepalive is not None and now - quiet_since(slot) > 2 * keepalive:
            return False
        return slot.peek.quiet()

    def _stand_in_line(self, suspect: PooledSlot | None, began: float) -> PooledSlot:
        waiter = ThreadWaiter(began)
        patience = self._patience.seconds
        deadline = began + (self.policy.timeout if patience is None else patience)
        slot: PooledSlot | None = None
        try:
            self._join(waiter, suspect, first=False)
            while True:
                slot = self._await(waiter, deadline)
                now = monotonic()
                if now - slot.idle_since < FRESH or self._looks_alive(slot, now):
                    slot.thread_id = get_ident()
                    if self._observer is not None:
                        self._tell("waited", Waited(seconds=now - began))
                    return slot
                suspect, slot, waiter.slot = slot, None, None
                self._join(waiter, suspect, first=True)
        except BaseException as error:
            now = monotonic()
            self._step(lambda ledger: ledger.abandon(waiter, now, slot or waiter.slot))
            self._tell("not_served", NotServed(seconds=now - began, error=error))
            raise

    def _join(self, waiter: ThreadWaiter, suspect: PooledSlot | None, *, first: bool) -> None:
        now = monotonic()

        def step(ledger: Ledger[PooledSlot, ThreadWaiter]) -> int:
            if suspect is not None:
                ledger.suspect(suspect, now)
            ledger.join(waiter, now, first=first)
            return ledger.reconnecting.failures

        if self._step(step):
            self._set_alarm()

    def _await(self, waiter: ThreadWaiter, deadline: float) -> PooledSlot:
        """Wait for the outcome: a slot, or the error raised here."""
        breath, nap = inf, NAP
        while True:
            left = deadline - monotonic()
            woken = waiter.wait(min(left, breath, nap))
            expired = not woken and left <= min(breath, nap)
            if not woken and nap < breath:
                nap *= 2
            if waiter.slot is None and waiter.error is None:
                if expired:
                    self._step(lambda ledger: ledger.time_out(waiter, monotonic()))
                else:
                    breath = self._step(lambda ledger: ledger.look(waiter, monotonic()))
            if waiter.error is not None:
                raise waiter.error
            slot: PooledSlot | None = waiter.slot
            if slot is not None:
                return slot
            if expired:
                raise self._timeout_error(deadline - waiter.since) from self._ledger.reconnecting.last_error

    def _timeout_error(self, waited: float) -> PoolTimeoutError:
        stats, trouble, paused = self._step(lambda ledger: (ledger.stats(), ledger.reconnecting, ledger.paused))
        pending = getattr(self._creator, "pending", None)  # a creator may tell what its connects wait for
        return PoolTimeoutError(
            why_timed_out(
                waited,
                stats,
                trouble,
                self.holders(),
                paused=paused,
                pending=pending() if pending is not None and stats.opening else None,
                now=monotonic(),
                asking=get_ident(),
            )
        )

    # ---- giving back

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        slot: PooledSlot = record  # type: ignore[assignment]
        if slot.leak_told:
            self._came_back(slot, monotonic())
        connection = slot.dbapi_connection
        if connection is None:
            self._enter(slot, "invalidated" if slot.retire_why == "invalidated" else "detached")
        elif not self._fit_to_keep(connection):
            self._enter(slot, "unfit")
        else:
            try:
                if self._ledger.give_back(slot, monotonic()):
                    self._enter(slot)
            except BaseException:  # interrupted, perhaps after it lay idle and before anybody was told
                self._enter(slot)
                raise

    def _came_back(self, slot: PooledSlot, now: float) -> None:
        slot.leak_told = False
        seconds = now - slot.borrowed_at
        logger.info("%s: a connection reported as leaked came back after %.1f s", self._label(), seconds)
        self._tell("came_back", CameBack(seconds=seconds))
