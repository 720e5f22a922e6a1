"""Ctrl-C in the main thread's statement: the server is asked to cancel it, on every road that leads out of a pool.

The pool knows who holds what, so nothing is noted down for a statement. Invariants:

1. A connection on which a statement is cancelled is not used again: it is marked first, and then looked at once more.
   A cancel that comes late could strike the next borrower's statement.
2. A statement that began after Ctrl-C came is left alone: it is what the program does after its ``KeyboardInterrupt``.
3. A server that does not end the statement in time loses the connection: the main thread is free within a second.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from dbkit.core.types import State
from dbkit.drivers import for_connection
from dbkit.drivers.base import Transaction

if TYPE_CHECKING:
    from dbkit.core.ledger import Ledger
    from dbkit.drivers.base import Driver
    from dbkit.pool.driver import LedgerDriver
    from dbkit.pool.slot import PooledSlot
    from dbkit.runtime.base import Waiter

PATIENCE: Final = 0.4
"""Seconds that the server has to end the statement."""

_LOOK: Final = 0.01


def cancel_of_main_thread(pool: LedgerDriver, moment: float) -> None:
    """End the statement that the main thread waits for on a connection of this pool, if there is one.

    Called on a thread beside the main one. Does nothing with drivers that hear of Ctrl-C by themselves.

    Args:
        pool: whose borrowers are looked at.
        moment: when Ctrl-C came, by the monotonic clock.
    """
    main = threading.main_thread().ident

    def held(ledger: Ledger[PooledSlot, Waiter]) -> list[PooledSlot]:
        return [slot for slot in ledger.slots if slot.state is State.IN_USE and slot.borrow.thread_id == main]

    for slot in pool._step(held):
        connection: Any = slot.dbapi_connection
        if connection is None:
            continue
        driver, began = for_connection(connection), _statement(connection)
        if driver.hears_interrupts or not _is_active(driver, connection) or began > moment:
            continue
        borrowed_at = slot.borrowed_at
        pool._step(lambda _, slot=slot: _condemn(slot))  # type: ignore[misc]  # mypy has no type for the default
        if slot.state is State.IN_USE and slot.borrow.thread_id == main and slot.borrowed_at == borrowed_at:
            _end(driver, connection, began)


def _condemn(slot: PooledSlot) -> None:
    if slot.generation >= 0:
        slot.generation = ~slot.generation


def _end(driver: Driver, connection: Any, began: float) -> None:
    try:
        driver.cancel(connection)
        until = time.monotonic() + PATIENCE
        while _is_active(driver, connection) and _statement(connection) == began:
            if time.monotonic() > until:
                break
            time.sleep(_LOOK)
        else:
            return
    except connection.Error:  # the server could not be asked
        pass
    driver.shut_down(connection)


def _is_active(driver: Driver, connection: Any) -> bool:
    return driver.transaction(connection) is Transaction.ACTIVE


def _statement(connection: Any) -> float:
    """When its last cursor was made. A connection that was not opened by dbkit does not say."""
    began: float = getattr(connection, "dbkit_cursor_at", -math.inf)
    return began
