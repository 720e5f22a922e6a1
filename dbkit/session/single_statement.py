"""One statement that stands for itself, on a borrowed connection, in one round trip.

The drivers open a transaction before the first statement of their own accord: ``BEGIN``, the statement, ``COMMIT``,
three round trips. In autocommit mode the server does the same for a single statement by itself. The mode is switched
here and not through SQLAlchemy's ``isolation_level="AUTOCOMMIT"``, because its way back spells the default level out on
the connection, and from then on a transaction would be needed to honour it.

Invariant: however the block ends, the connection is outside any transaction and in the mode it came in, or closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

from dbkit.drivers.base import Transaction
from dbkit.drivers.bounded import bounded
from dbkit.session.connection_state import send
from dbkit.session.limits import is_limited, limits

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy import Dialect

    from dbkit.drivers.base import Driver


class single_statement:  # noqa: N801 - used as a verb, like contextlib's
    """Within the block one statement commits by itself; after an error nothing of it stays.

    A connection with characteristics of its own (an isolation level, read-only, deferrable) runs the statement in a
    transaction instead, since these have no effect in autocommit mode: SERIALIZABLE must not silently become less. So
    does a statement with a limit (``limits.py``).

    Args:
        driver: the connection's, with ``has_autocommit``.
        connection: borrowed, outside a transaction.
        dialect: of the engine it came from.

    Attributes:
        committed: after the block: what the server executed in it is committed. Also after an error, where that arose
            when the statement was done: while the answer was read.

    Raises:
        sqlalchemy.exc.InvalidRequestError: the statement left a transaction open; it was rolled back.
    """

    __slots__ = ("_connection", "_dialect", "_driver", "_switched", "_transaction", "committed")

    def __init__(self, driver: Driver, connection: Any, dialect: Dialect) -> None:
        self._driver = driver
        self._connection = connection
        self._dialect = dialect
        self._switched = self._transaction = self.committed = False

    def __enter__(self) -> None:
        driver, connection = self._driver, self._connection
        if is_limited():
            self._begin_with(limits())
            return
        if connection.autocommit:
            return
        if driver.transactions_are_special(connection):
            self._forget_default_level()
            self._transaction = driver.transactions_are_special(connection)
        if not self._transaction:
            connection.autocommit = self._switched = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        driver, connection = self._driver, self._connection
        if not driver.is_open(connection):
            return
        if self._transaction:
            with bounded(driver, connection):
                if kind is None:
                    connection.commit()
                else:
                    self._roll_back()
        status = driver.transaction(connection)
        if status is Transaction.UNKNOWN:
            return  # the server is gone, which the error's handler finds out
        if status is not Transaction.NONE:
            self._roll_back(explicitly=True)
        else:
            self.committed = kind is None or not self._transaction
        if self._switched and driver.is_open(connection):
            connection.autocommit = False
        if status is not Transaction.NONE and kind is None:
            raise exc.InvalidRequestError(
                "The statement left a transaction open, which was rolled back: execute_query commits each statement "
                "by itself. For several statements in one transaction use session_scope() or raw_connection()."
            )

    def _begin_with(self, commands: str) -> None:
        """Begin a transaction with these limits. An engine's own autocommit is put back by the pool."""
        connection = self._connection
        connection.autocommit = False
        self._transaction = True
        with bounded(self._driver, connection):
            send(connection, commands)

    def _forget_default_level(self) -> None:
        """Undo what SQLAlchemy's AUTOCOMMIT left: the default level, spelled out, means no more than none."""
        dialect: Any = self._dialect
        if (
            dialect._on_connect_isolation_level is None
            and self._driver.isolation_level(self._connection) == dialect.default_isolation_level
        ):
            self._driver.forget_isolation_level(self._connection)

    def _roll_back(self, *, explicitly: bool = False) -> None:
        """End the transaction, or the connection if that cannot be done."""
        connection = self._connection
        try:
            if explicitly:  # in autocommit mode rollback() does nothing
                send(connection, "ROLLBACK")
            else:
                connection.rollback()
        except self._dialect.loaded_dbapi.Error:
            connection.close()
