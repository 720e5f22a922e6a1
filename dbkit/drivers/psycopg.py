"""psycopg 3, as the pool and the session layer need it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import psycopg
from psycopg.adapt import AdaptersMap

from dbkit.drivers.base import Transaction
from dbkit.drivers.cursors import none_open, remembering
from dbkit.drivers.libpq import LibpqDriver, plain_encoding

_TRANSACTIONS = tuple(Transaction)
_NO_TRANSACTION = int(Transaction.NONE)

CANCEL_TIMEOUT = 5.0
"""Seconds that asking the server to cancel a statement may take."""


SETTABLE = (
    "isolation_level",
    "read_only",
    "deferrable",
    "row_factory",
    "cursor_factory",
    "server_cursor_factory",
    "prepare_threshold",
    "prepared_max",
    "autocommit",
)
_look = attrgetter(*SETTABLE)
_registered = attrgetter("_loaders", "_dumpers", "_dumpers_by_oid", "types._registry")
"""All that is registered in a map of adapters; psycopg offers no public way to see it. A map that nobody changed shares
its parts with its copy, so comparing them ends at their identity. Both are asked at each return: one call in C each."""


@dataclass(frozen=True, slots=True)
class PsycopgState:
    """All that a borrower may change on a connection object.

    Attributes:
        looks: the attributes, in the order of ``SETTABLE``.
        encoding: the client's, as the server knows it.
        adapters: a copy: it shares what is registered with the connection's own until either is changed.
    """

    looks: tuple[Any, ...]
    encoding: bytes | None
    adapters: AdaptersMap = field(compare=False)
    registered: tuple[Any, ...]

    def settings(self) -> dict[str, Any]:
        """The attributes by their names; what sends nothing comes first."""
        return dict(zip(SETTABLE, self.looks, strict=True))


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
        adapters = AdaptersMap(connection.adapters)
        encoding = connection.pgconn.parameter_status(b"client_encoding")
        return PsycopgState(_look(connection), encoding, adapters, _registered(adapters))

    def behaves_as(self, connection: Any, state: PsycopgState) -> bool:
        return bool(
            _look(connection) == state.looks
            and connection.pgconn.parameter_status(b"client_encoding") == state.encoding
            and _registered(connection.adapters) == state.registered
        )

    def is_untouched(self, connection: Any, state: PsycopgState) -> bool:
        # `is_clean` and `behaves_as` in one piece, as each call in here is felt in each checkout. A connection that is
        # closed or lost has no status but UNKNOWN.
        if connection.pgconn.transaction_status != _NO_TRANSACTION:
            return False
        cursors = getattr(connection, "dbkit_cursors", None)
        return (not cursors or none_open(cursors)) and PsycopgDriver.behaves_as(self, connection, state)

    def set_state(self, connection: Any, state: PsycopgState) -> None:
        settings = state.settings()
        autocommit = settings.pop("autocommit")
        for name, value in settings.items():
            setattr(connection, name, value)
        restore_adapters(connection, state)
        if state.encoding and connection.pgconn.parameter_status(b"client_encoding") != state.encoding:
            self._in_autocommit(connection, f"SET client_encoding TO '{plain_encoding(state.encoding.decode())}'")
        connection.autocommit = autocommit

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
