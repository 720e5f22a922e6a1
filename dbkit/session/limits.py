"""Bounds of a single statement: a timeout, a deadline, no right to write. In a transaction of its own.

The server knows no other way to bound one statement by itself that leaves nothing behind. It costs ``BEGIN``, the
limits, the statement and ``COMMIT``: four round trips in place of one, paid only where a limit is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

from dbkit.drivers.bounded import TIMEOUT, for_text, run_bounded
from dbkit.session.connection_state import run_commands
from dbkit.session.deadlines import by_deadline, limit, time_left
from dbkit.session.scope_settings import check_timeout

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dbkit.drivers.base import Driver

_asked: ContextVar[tuple[float | None, bool] | None] = ContextVar("dbkit_statement_limits", default=None)
"""The timeout, and whether it may not write, of the statement under way."""


def is_limited() -> bool:
    """Whether a limit holds for the statement under way."""
    return _asked.get() is not None


def limits() -> str:
    """The commands that impose the limits on the transaction under way.

    Raises:
        DeadlineExceeded: no time is left.
    """
    timeout, read_only = _asked.get() or (None, False)
    left = time_left()
    if left is not None:
        timeout = left if timeout is None else min(timeout, left)
    commands = ["SET TRANSACTION READ ONLY"] if read_only else []
    if timeout is not None:
        commands.append(limit(timeout))
    return "; ".join(commands)


def impose_limits(connection: Connection) -> None:
    """Begin a transaction of SQLAlchemy's with the limits of the statement under way and of the deadline, if any."""
    commands = limits()
    if not commands:
        return
    driver_connection: Any = connection.connection.dbapi_connection
    if getattr(driver_connection, "autocommit", False):  # the pool puts it back
        driver_connection.autocommit = False
    run_commands(connection, commands)
    timeout, _ = _asked.get() or (None, False)
    if timeout is not None:
        connection.execution_options(**{TIMEOUT: timeout})


def execute(driver: Driver, cursor: Any, sql: str, values: Any) -> None:
    """Execute the statement under way by a driver's cursor, within its limits.

    Raises:
        the driver's error.
    """
    timeout, _ = _asked.get() or (None, False)
    run_bounded(driver, driver.connection_of(cursor), for_text(sql, timeout), cursor.execute, sql, values)


@contextmanager
def limited(timeout: float | None, *, read_only: bool) -> Iterator[None]:
    """Bound the statement within the block.

    Raises:
        SettingsError, sqlalchemy.exc.ArgumentError: ``timeout`` is no number of seconds above 0.
        DeadlineExceeded: the statement was stopped by the deadline, or there was no time left for it; or the server
            neither answered within ``timeout`` nor stopped it.
    """
    check_timeout(timeout)
    time_left()
    token = _asked.set((timeout, read_only))
    try:
        yield
    except exc.DBAPIError as error:
        exceeded = by_deadline(error)
        if exceeded is None:
            raise
        raise exceeded from error
    finally:
        _asked.reset(token)
