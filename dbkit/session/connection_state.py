"""Bringing a driver connection back to how it came: outside any transaction, and behaving as it did."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from dbkit.drivers import for_connection, for_dialect
from dbkit.drivers.base import Driver, Transaction
from dbkit.drivers.bounded import bounded

if TYPE_CHECKING:
    from sqlalchemy import Connection

logger = logging.getLogger("dbkit.session.scopes")

_AS_IT_IS: Final = {"no_parameters": True}
"""Execution options for commands without parameters."""

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
    """Send commands that have no parameters and no result, separated by semicolons, to a driver's connection."""
    cursor = connection.cursor()
    try:
        for one in one_by_one(for_connection(connection), command):
            cursor.execute(one)
    finally:
        cursor.close()


def run_commands(connection: Connection, commands: str) -> None:
    """As ``send``, on a connection of SQLAlchemy's."""
    for one in one_by_one(for_dialect(connection.dialect), commands):
        connection.exec_driver_sql(one, execution_options=_AS_IT_IS)


def one_by_one(driver: Driver, commands: str) -> Sequence[str]:
    """The texts to send: one round trip for all, where the driver takes several commands at once."""
    return (commands,) if driver.takes_several_commands else commands.split("; ")
