"""Jobs: connecting, checking and closing, which run beside the borrowers and may block.

Each does its I/O without the lock, and then tells the ledger how it went. So it may be interrupted, or fail in any way,
between the two: every exception is an outcome too.
"""

from __future__ import annotations

import logging
import random
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from dbkit.core.ledger import Ledger
from dbkit.core.log_fields import fields
from dbkit.core.reasons import CloseReason
from dbkit.diagnosis.outage import is_refusal
from dbkit.events import Closed, Opened, OpenFailed
from dbkit.pool.errors import ConnectCancelledError
from dbkit.pool.internals import log_label, logging_name_of
from dbkit.pool.liveness import is_silent
from dbkit.runtime.deadlines import current as current_deadline

if TYPE_CHECKING:
    from dbkit.pool.driver import LedgerDriver
    from dbkit.pool.slot import PooledSlot
    from dbkit.runtime.base import Waiter

logger = logging.getLogger("dbkit.pool")


def connect(pool: LedgerDriver, slot: PooledSlot) -> None:
    """Open the slot's connection."""
    began = monotonic()
    deadline = current_deadline.get()  # of the borrower it is for: this runs in its context variables
    if deadline is not None:
        deadline.connecting()
    try:
        slot.get_connection()
    except BaseException as error:  # noqa: BLE001 - of any kind: it goes to the one that waits
        if deadline is not None:
            deadline.connected()
        _failed(pool, slot, pool._failure(slot, error), began)
    else:
        if deadline is not None:
            deadline.connected()
        _opened(pool, slot, monotonic() - began)
    pool._set_alarm()


def _opened(pool: LedgerDriver, slot: PooledSlot, seconds: float) -> None:
    def step(ledger: Ledger[PooledSlot, Waiter]) -> int:
        failures = ledger.reconnecting.failures
        ledger.opened(slot, monotonic(), seconds=seconds, jitter=random.random())
        return failures

    failures = pool._step(step)
    if failures:
        logger.info(
            "%s: connected again after %d failed attempts",
            log_label(pool),
            failures,
            extra=fields("opened_again", logging_name_of(pool), seconds=seconds, failures=failures),
        )
    pool._tell("opened", Opened(seconds=seconds))


def _failed(pool: LedgerDriver, slot: PooledSlot, error: BaseException, began: float) -> None:
    refused = is_refusal(error)

    def step(ledger: Ledger[PooledSlot, Waiter]) -> tuple[int, bool]:
        before = ledger.reconnecting.rounds
        now = monotonic()
        told = ledger.open_failed(slot, error, now, began=began, refused=refused, jitter=random.random())
        trouble = ledger.reconnecting
        return trouble.failures, before == 0 and trouble.rounds > 0 and not told

    failures, is_news = pool._step(step)
    loud = is_news and not isinstance(error, ConnectCancelledError)
    (logger.warning if loud else logger.debug)(
        "%s: connecting failed: %s",
        log_label(pool),
        str(error).strip() or type(error).__name__,
        extra=fields("open_failed", logging_name_of(pool), failures=failures),
    )
    pool._tell("open_failed", OpenFailed(error=error, transient=not refused, failures=failures))


def check(pool: LedgerDriver, slot: PooledSlot) -> None:
    """Ping the slot's connection."""
    alive = slot.answers(pool)
    pool._step(lambda ledger: ledger.checked(slot, monotonic(), alive=alive))
    if not alive:
        _look_at_the_others(pool)
    pool._set_alarm()


def _look_at_the_others(pool: LedgerDriver) -> None:
    """Where one died, others may have died with it: those that have something to say are asked before they are
    lent."""
    idle = pool._step(lambda ledger: list(ledger.idle))
    loud = [slot for slot in idle if slot.peek is not None and not is_silent(slot.peek)]
    for slot in loud:
        pool._step(partial(Ledger.suspect_idle, slot=slot, now=monotonic()))


def close(pool: LedgerDriver, slot: PooledSlot, reason: CloseReason) -> None:
    """Close the slot's connection, which the ledger knows no more."""
    pool.logger.debug("Closing connection %r (%s)", slot.dbapi_connection, reason)
    if reason is CloseReason.DEAD:
        slot.invalidate()
    else:
        slot.close()
    pool._tell("closed", Closed(why=reason))
