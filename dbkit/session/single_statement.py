"""One statement that stands for itself, on a borrowed psycopg2 connection, in one round trip.

The driver opens a transaction before the first statement of its own accord: ``BEGIN``, the statement, ``COMMIT``, three
round trips. In autocommit mode the server does the same for a single statement by itself. The mode is switched here and
not through SQLAlchemy's ``isolation_level="AUTOCOMMIT"``, because its way back spells the default level out on the
connection, and from then on the driver pays a ``SET`` for every change of the mode.

Invariant: however the block ends, the connection is outside any transaction and in the mode it came in, or closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import extensions as driver
from sqlalchemy import exc

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy import Dialect


_LEVELS = {
    driver.ISOLATION_LEVEL_READ_UNCOMMITTED: "READ UNCOMMITTED",
    driver.ISOLATION_LEVEL_READ_COMMITTED: "READ COMMITTED",
    driver.ISOLATION_LEVEL_REPEATABLE_READ: "REPEATABLE READ",
    driver.ISOLATION_LEVEL_SERIALIZABLE: "SERIALIZABLE",
}


class single_statement:  # noqa: N801 - used as a verb, like contextlib's
    """Within the block one statement commits by itself; after an error nothing of it stays.

    A connection with characteristics of its own (an isolation level, read-only, deferrable) runs the statement in a
    transaction instead, since these have no effect in autocommit mode: SERIALIZABLE must not silently become less.

    Args:
        connection: borrowed, outside a transaction.
        dialect: of the engine it came from.

    Raises:
        sqlalchemy.exc.InvalidRequestError: the statement left a transaction open; it was rolled back.
    """

    __slots__ = ("_connection", "_dialect", "_switched", "_transaction")

    def __init__(self, connection: driver.connection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect
        self._switched = self._transaction = False

    def __enter__(self) -> None:
        connection = self._connection
        if connection.autocommit:
            return
        if connection.isolation_level is not None:
            self._forget_default_level()
        self._transaction = (
            connection.isolation_level is not None
            or connection.readonly is not None
            or connection.deferrable is not None
        )
        if not self._transaction:
            connection.autocommit = self._switched = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection = self._connection
        if connection.closed:
            return
        if self._transaction:
            if kind is None:
                connection.commit()
            else:
                self._roll_back()
        status = connection.get_transaction_status()
        if status == driver.TRANSACTION_STATUS_UNKNOWN:
            return  # the server is gone, which whoever handles the error finds out
        if status != driver.TRANSACTION_STATUS_IDLE:
            self._roll_back(explicitly=True)
        if self._switched and not connection.closed:
            connection.autocommit = False
        if status != driver.TRANSACTION_STATUS_IDLE and kind is None:
            raise exc.InvalidRequestError(
                "The statement left a transaction open, which was rolled back: execute_query commits each statement "
                "by itself. For several statements in one transaction use session_scope() or raw_connection()."
            )

    def _forget_default_level(self) -> None:
        """Undo what SQLAlchemy's AUTOCOMMIT left: the default level, spelled out, means no more than none."""
        dialect = self._dialect
        level = _LEVELS.get(self._connection.isolation_level or 0)
        engine_has_none = getattr(dialect, "_on_connect_isolation_level", "unknown") is None
        if engine_has_none and level == dialect.default_isolation_level:
            self._connection.isolation_level = None  # the driver's word for the default

    def _roll_back(self, *, explicitly: bool = False) -> None:
        """End the transaction, or the connection if that cannot be done."""
        connection = self._connection
        try:
            if explicitly:  # in autocommit mode rollback() does nothing
                with connection.cursor() as cursor:
                    cursor.execute("ROLLBACK")
            else:
                connection.rollback()
        except psycopg2.Error:
            connection.close()
