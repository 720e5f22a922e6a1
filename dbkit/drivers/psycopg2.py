"""psycopg2, as the pool and the session layer need it."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import psycopg2
from psycopg2 import extensions

from dbkit.drivers.base import Transaction
from dbkit.drivers.cursors import none_open, remembering
from dbkit.drivers.libpq import LibpqDriver, plain_encoding

_TRANSACTIONS = tuple(Transaction)
_NO_TRANSACTION = int(Transaction.NONE)

_LEVELS = {
    extensions.ISOLATION_LEVEL_READ_UNCOMMITTED: "READ UNCOMMITTED",
    extensions.ISOLATION_LEVEL_READ_COMMITTED: "READ COMMITTED",
    extensions.ISOLATION_LEVEL_REPEATABLE_READ: "REPEATABLE READ",
    extensions.ISOLATION_LEVEL_SERIALIZABLE: "SERIALIZABLE",
}

ANSWER_TIMEOUT = 0.4
"""Seconds that a server may take to answer whether it is there, before it is asked to cancel a statement."""

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""May this be encrypted? Every server and pooler answers with one letter, and nothing else comes of it."""

_CLOSED_BY_BORROWER = 1
"""The value of ``closed`` after ``close()``; of a connection that broke it is 2."""


_SETTABLE = ("autocommit", "isolation_level", "readonly", "deferrable", "cursor_factory", "encoding")
_CASTERS = ("string_types", "binary_types")
_look = attrgetter(*_SETTABLE, *_CASTERS)
"""Asked at each return: one call in C, where eight attributes read in Python would be felt in each checkout."""


@dataclass(frozen=True, slots=True)
class Psycopg2State:
    """All that a borrower may change on a connection object.

    Attributes:
        looks: the attributes, as ``_look`` finds them, with copies of the dictionaries.
        server_encoding: the client's encoding as the server knows it.
    """

    looks: tuple[Any, ...]
    server_encoding: str | None


class Psycopg2Driver(LibpqDriver):
    """The driver that ``postgresql+psycopg2://`` names."""

    hears_interrupts = False

    def connect(self, **params: Any) -> Any:
        factory = params.pop("connection_factory", None) or extensions.connection
        if isinstance(factory, type):  # any other callable makes what it likes
            factory = remembering(factory)
        return psycopg2.connect(**params, connection_factory=factory)

    def is_clean(self, connection: Any) -> bool:
        # A connection that is closed or lost has no status but UNKNOWN.
        return bool(connection.get_transaction_status() == _NO_TRANSACTION)

    def transaction(self, connection: Any) -> Transaction:
        status: int = connection.get_transaction_status()
        return _TRANSACTIONS[status]

    def encoding(self, connection: Any) -> str | None:
        encoding: str = connection.encoding
        return encoding

    def sqlstate(self, error: BaseException | None) -> str | None:
        return error.pgcode if isinstance(error, psycopg2.Error) else None

    def take_notices(self, connection: Any) -> list[str]:
        notices: list[str] = connection.notices
        if not notices:
            return notices
        taken = notices.copy()
        notices.clear()
        return taken

    def counts_every_execution(self, dialect: Any) -> bool:
        """Not with SQLAlchemy's ``executemany_mode="values_plus_batch"``: a batch is one text of many statements, and
        psycopg2 counts the last one."""
        return bool(dialect.executemany_mode.name != "EXECUTEMANY_VALUES_PLUS_BATCH")

    def asked_for_read_only(self, connection: Any) -> bool:
        return connection.readonly is True

    def cancel(self, connection: Any) -> bool:
        """Ask, but only a server that answers: psycopg2 keeps the whole interpreter waiting while it asks."""
        if not self._takes_connections(connection):
            raise psycopg2.OperationalError("the server does not answer, so it was not asked to cancel the statement")
        connection.cancel()
        return True

    def _takes_connections(self, connection: Any) -> bool:
        descriptor = self.descriptor(connection)
        if descriptor is None:
            return False
        with socket.socket(fileno=os.dup(descriptor)) as own:
            family, address = own.family, own.getpeername() if own.family != socket.AF_UNIX else None
        if address is None:  # the server's own name for it may be a relative one
            address = f"{connection.info.host}/.s.PGSQL.{connection.info.port}"
        with socket.socket(family) as asking:
            asking.settimeout(ANSWER_TIMEOUT)
            try:
                asking.connect(address)
                asking.sendall(_SSL_REQUEST)
                return bool(asking.recv(1))
            except OSError:
                return False

    def copy_rows(self, connection: Any, statement: str, rows: Iterable[Sequence[Any]]) -> int:
        from dbkit.drivers.copy_text import CopyStream, copy_lines  # only few programs need it

        stream = CopyStream(copy_lines(rows, _own_value))
        with connection.cursor() as cursor:
            try:
                cursor.copy_expert(statement, stream)
            except BaseException as error:
                if stream.error is not None:  # of which psycopg2 passes on the text alone
                    raise stream.error from error
                raise
            return int(cursor.rowcount)

    def _discard(self, connection: Any) -> None:
        """Clear the session. The encoding and the style of dates, which psycopg2 set when it connected and goes by
        since, are put back where ``DISCARD ALL`` changed them."""
        self._in_autocommit(connection, "DISCARD ALL")
        believed, actual = connection.encoding, connection.get_parameter_status("client_encoding")
        if plain_encoding(believed) != plain_encoding(actual):
            self._in_autocommit(connection, f"SET client_encoding TO '{plain_encoding(believed)}'")
        if not connection.get_parameter_status("DateStyle").startswith("ISO"):
            self._in_autocommit(connection, "SET DateStyle TO ISO")
        connection.notifies.clear()

    def state(self, connection: Any) -> Psycopg2State:
        *settable, strings, binaries = _look(connection)
        return Psycopg2State(
            (*settable, strings.copy(), binaries.copy()), connection.get_parameter_status("client_encoding")
        )

    def behaves_as(self, connection: Any, state: Psycopg2State) -> bool:
        return bool(
            _look(connection) == state.looks
            and connection.get_parameter_status("client_encoding") == state.server_encoding
        )

    def is_untouched(self, connection: Any, state: Psycopg2State) -> bool:
        # `is_clean` and `behaves_as` in one piece, as each call in here is felt in each checkout.
        cursors = getattr(connection, "dbkit_cursors", None)
        return bool(
            connection.get_transaction_status() == _NO_TRANSACTION
            and (not cursors or none_open(cursors))
            and _look(connection) == state.looks
            and connection.get_parameter_status("client_encoding") == state.server_encoding
        )

    def set_state(self, connection: Any, state: Psycopg2State) -> None:
        before = dict(zip((*_SETTABLE, *_CASTERS), state.looks, strict=True))
        connection.autocommit = False  # in autocommit mode psycopg2 sends each of the others to the server
        for name in ("isolation_level", "readonly", "deferrable", "cursor_factory"):
            setattr(connection, name, before[name])
        for name in _CASTERS:
            casters = getattr(connection, name)
            if casters != before[name]:
                casters.clear()
                casters.update(before[name])
        if connection.encoding != before["encoding"]:
            connection.set_client_encoding(before["encoding"])
        if state.server_encoding and connection.get_parameter_status("client_encoding") != state.server_encoding:
            self._in_autocommit(connection, f"SET client_encoding TO '{plain_encoding(state.server_encoding)}'")
        connection.autocommit = before["autocommit"]

    def isolation_level(self, connection: Any) -> str | None:
        return _LEVELS.get(connection.isolation_level)

    def forget_isolation_level(self, connection: Any) -> None:
        connection.isolation_level = None

    def transactions_are_special(self, connection: Any) -> bool:
        return (
            connection.isolation_level is not None
            or connection.readonly is not None
            or connection.deferrable is not None
        )

    def closed_by_borrower(self, connection: Any) -> bool:
        return bool(connection.closed == _CLOSED_BY_BORROWER)


def _own_value(value: Any) -> Any:
    """The content of one of psycopg2's wrappers, as text or bytes; anything else as it is."""
    from psycopg2 import extras

    if isinstance(value, extras.Json):
        return value.dumps(value.adapted)
    if isinstance(value, extras.Range):
        return str(value)
    return value.adapted if isinstance(value, extensions.Binary) else value
