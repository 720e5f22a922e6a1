"""Bringing a driver connection back to how it came: outside any transaction, and behaving as it did."""

from __future__ import annotations

import logging
from typing import Any

from dbkit.drivers.base import Driver, Transaction
from dbkit.drivers.bounded import bounded

logger = logging.getLogger("dbkit.session.scopes")

IN_TRANSACTION = frozenset({Transaction.ACTIVE, Transaction.OPEN, Transaction.FAILED})


def restore(driver: Driver, connection: Any, state: Any) -> bool:
    """Roll back what is open on the connection, and make it behave again as when its state was taken.

    Args:
        driver: the connection's.
        connection: the driver's own.
        state: what ``driver.state(connection)`` returned.

    Returns:
        False where the connection is of no more use: closed, lost, or not to be brought back.
    """
    if not driver.is_open(connection):
        return False
    try:
        with bounded(driver, connection):
            connection.rollback()
        if driver.transaction(connection) in IN_TRANSACTION:  # autocommit, and a BEGIN of the borrower's
            send(connection, "ROLLBACK")
        if not driver.behaves_as(connection, state):
            driver.set_state(connection, state)
    except Exception:
        logger.warning("A connection could not be brought back to how it came; it is discarded.", exc_info=True)
        return False
    return driver.is_clean(connection)


def send(connection: Any, command: str) -> None:
    """Send a command that has no parameters and no result."""
    cursor = connection.cursor()
    try:
        cursor.execute(command)
    finally:
        cursor.close()
