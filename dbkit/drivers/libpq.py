"""The common ground of psycopg2 and psycopg 3: both are built on libpq, and on the same ideas."""

from __future__ import annotations

from typing import Any

from dbkit.drivers.base import Driver, Transaction
from dbkit.drivers.cursors import close, none_open, still_open

_NONE: dict[int, Any] = {}


class LibpqDriver(Driver):
    """A driver for PostgreSQL whose connections have ``closed``, ``autocommit``, ``fileno()`` and libpq's errors."""

    can_discard = True
    can_ask_for_writer = True
    has_autocommit = True

    def is_open(self, connection: Any) -> bool:
        return not connection.closed

    def is_clean(self, connection: Any) -> bool:
        return not connection.closed and self.transaction(connection) is Transaction.NONE

    def descriptor(self, connection: Any) -> int | None:
        try:
            descriptor: int = connection.fileno()
        except connection.Error:  # closed
            return None
        return descriptor if descriptor >= 0 else None

    def error_position(self, error: BaseException | None) -> int | None:
        if self.sqlstate(error) is None:
            return None
        diagnostic: Any = error.diag  # type: ignore[union-attr]  # an error with an SQLSTATE has one
        return int(diagnostic.statement_position) if diagnostic.statement_position else None

    def leave_transaction(self, connection: Any) -> None:
        if self.transaction(connection) is not Transaction.NONE:
            connection.rollback()

    def close_cursors(self, connection: Any) -> bool:
        left = still_open(getattr(connection, "dbkit_cursors", _NONE))  # not every connection was opened by dbkit
        if not left:
            return True
        try:
            for cursor in left:
                close(cursor)
            self.leave_transaction(connection)
        except Exception:  # noqa: BLE001 - a cursor that cannot be closed goes with its connection
            return False
        return self.is_clean(connection)

    def is_untouched(self, connection: Any, state: Any) -> bool:
        cursors = getattr(connection, "dbkit_cursors", _NONE)
        return (not cursors or none_open(cursors)) and self.is_clean(connection) and self.behaves_as(connection, state)

    def discard_session(self, connection: Any) -> bool:
        if not self.is_clean(connection):
            return False
        try:
            self._discard(connection)
        except Exception:  # noqa: BLE001 - a connection that cannot be cleared is not kept, whatever the reason
            return False
        return True

    def _discard(self, connection: Any) -> None:
        """Send ``DISCARD ALL``, and bring the driver's idea of the session in line."""
        raise NotImplementedError

    def is_writer(self, connection: Any) -> bool:
        return bool(self._in_autocommit(connection, "SHOW transaction_read_only") == "off")

    def _in_autocommit(self, connection: Any, statement: str) -> Any:
        """Execute a statement outside any transaction; return the first value of its result, if it has one."""
        before = connection.autocommit
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                self._execute_once(cursor, statement)
                return cursor.fetchone()[0] if cursor.description else None
        finally:
            if not connection.closed:
                connection.autocommit = before

    def _execute_once(self, cursor: Any, statement: str) -> None:
        cursor.execute(statement)


def plain_encoding(encoding: str) -> str:
    """An encoding's name as the server compares it."""
    return "".join(filter(str.isalnum, encoding)).upper()
