"""psycopg 3, as the pool and the session layer need it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.adapt import AdaptersMap

from dbkit.drivers.base import Transaction
from dbkit.drivers.cursors import remembering
from dbkit.drivers.libpq import LibpqDriver, plain_encoding

_TRANSACTIONS = tuple(Transaction)

CANCEL_TIMEOUT = 5.0
"""Seconds that asking the server to cancel a statement may take."""


@dataclass(frozen=True, slots=True)
class PsycopgState:
    """All that a borrower may change on a connection object."""

    autocommit: bool
    isolation_level: psycopg.IsolationLevel | None
    read_only: bool | None
    deferrable: bool | None
    row_factory: Any
    cursor_factory: Any
    server_cursor_factory: Any
    prepare_threshold: int | None
    prepared_max: int | None
    encoding: bytes | None
    adapters: AdaptersMap = field(compare=False)
    """A copy: it shares what is registered with the connection's own until either is changed."""
    registered: tuple[Any, ...]


class PsycopgDriver(LibpqDriver):
    """The driver that ``postgresql+psycopg://`` names, on its synchronous connections."""

    placeholders = "sbt"

    def connect(self, **params: Any) -> Any:
        try:
            return remembering(psycopg.Connection).connect(**params)  # type: ignore[attr-defined]
        except psycopg.Error as error:
            error._pgconn = None  # what is left of the attempt; its repr shows the password
            raise

    def transaction(self, connection: Any) -> Transaction:
        status: int = connection.info.transaction_status
        return _TRANSACTIONS[status]

    def encoding(self, connection: Any) -> str | None:
        encoding: str = connection.info.encoding
        return encoding

    def sqlstate(self, error: BaseException | None) -> str | None:
        return error.sqlstate if isinstance(error, psycopg.Error) else None

    def asked_for_read_only(self, connection: Any) -> bool:
        return connection.read_only is True

    def cancel(self, connection: Any) -> bool:
        connection.cancel_safe(timeout=CANCEL_TIMEOUT)
        return True

    def copy_rows(self, connection: Any, statement: str, rows: Iterable[Sequence[Any]]) -> int:
        with connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)
            return int(cursor.rowcount)

    def _discard(self, connection: Any) -> None:
        """Clear the session, and what psycopg remembers of it: prepared statements, and notifications nobody read.

        psycopg reads the encoding and the style of dates off the server's reports, so these need no repair. It forgets
        its prepared statements by itself only where it sees this ``DISCARD ALL`` for the first time, and in some
        versions never; and nothing public makes it. Forgetting them first leaves it a ``DEALLOCATE ALL`` to send,
        which it does here, on the way.
        """
        connection._prepared.clear()
        self._in_autocommit(connection, "DISCARD ALL")
        for _ in connection.notifies(timeout=0):
            pass

    def _execute_once(self, cursor: Any, statement: str) -> None:
        cursor.execute(statement, prepare=False)

    def state(self, connection: Any) -> PsycopgState:
        return PsycopgState(
            connection.autocommit,
            connection.isolation_level,
            connection.read_only,
            connection.deferrable,
            connection.row_factory,
            connection.cursor_factory,
            connection.server_cursor_factory,
            connection.prepare_threshold,
            connection.prepared_max,
            connection.pgconn.parameter_status(b"client_encoding"),
            AdaptersMap(connection.adapters),
            _registered(connection.adapters),
        )

    def behaves_as(self, connection: Any, state: PsycopgState) -> bool:
        return bool(
            connection.autocommit is state.autocommit
            and connection.isolation_level is state.isolation_level
            and connection.read_only is state.read_only
            and connection.deferrable is state.deferrable
            and connection.row_factory is state.row_factory
            and connection.cursor_factory is state.cursor_factory
            and connection.server_cursor_factory is state.server_cursor_factory
            and connection.prepare_threshold == state.prepare_threshold
            and connection.prepared_max == state.prepared_max
            and connection.pgconn.parameter_status(b"client_encoding") == state.encoding
            and _registered(connection.adapters) == state.registered
        )

    def set_state(self, connection: Any, state: PsycopgState) -> None:
        connection.isolation_level = state.isolation_level
        connection.read_only = state.read_only
        connection.deferrable = state.deferrable
        connection.row_factory = state.row_factory
        connection.cursor_factory = state.cursor_factory
        connection.server_cursor_factory = state.server_cursor_factory
        connection.prepare_threshold = state.prepare_threshold
        connection.prepared_max = state.prepared_max
        restore_adapters(connection, state)
        if state.encoding and connection.pgconn.parameter_status(b"client_encoding") != state.encoding:
            self._in_autocommit(connection, f"SET client_encoding TO '{plain_encoding(state.encoding.decode())}'")
        connection.autocommit = state.autocommit

    def isolation_level(self, connection: Any) -> str | None:
        level: psycopg.IsolationLevel | None = connection.isolation_level
        return None if level is None else level.name.replace("_", " ")

    def forget_isolation_level(self, connection: Any) -> None:
        connection.isolation_level = None

    def transactions_are_special(self, connection: Any) -> bool:
        return (
            connection.isolation_level is not None
            or connection.read_only is not None
            or connection.deferrable is not None
        )

    def closed_by_borrower(self, connection: Any) -> bool:
        return bool(connection.closed and not connection.broken)


def restore_adapters(connection: Any, state: PsycopgState) -> None:
    """Take back what was registered for this connection alone."""
    if _registered(connection.adapters) != state.registered:
        connection._adapters = AdaptersMap(state.adapters)  # nothing public takes a registration back


def _registered(adapters: AdaptersMap) -> tuple[Any, ...]:
    """All that is registered there, to be compared. psycopg offers no public way to see it.

    A map that nobody changed shares its parts with its copy, so comparing them ends at their identity.
    """
    return (
        adapters._loaders[0],
        adapters._loaders[1],
        *adapters._dumpers.values(),
        adapters._dumpers_by_oid[0],
        adapters._dumpers_by_oid[1],
        adapters.types._registry,
    )
