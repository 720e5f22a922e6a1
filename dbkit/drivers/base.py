"""All that the pool and the session layer ask of a DB-API connection: one small class, and what any driver answers.

DB-API says little of a connection: it has ``cursor()``, ``commit()``, ``rollback()`` and ``close()``. ``Driver`` goes
by that alone, so it serves any driver; ``psycopg2.py`` and ``psycopg.py`` know more.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NoReturn

from dbkit.errors import DbkitError, Fault

if TYPE_CHECKING:
    from sqlalchemy import Dialect


class DriverMissingError(DbkitError, ImportError):
    """A driver's package is not installed. The message says how to install it."""


class Transaction(IntEnum):
    """Where a connection stands with regard to transactions; the numbers are libpq's."""

    NONE = 0
    """Outside any transaction."""
    ACTIVE = 1
    """A statement is running."""
    OPEN = 2
    """In a transaction."""
    FAILED = 3
    """In a transaction that an error aborted: only a rollback is possible."""
    UNKNOWN = 4
    """The connection is closed or lost, or the driver cannot tell."""


class Driver:
    """Any DB-API driver: what is known without knowing more. Stateless and thread-safe.

    ``connection`` is always the DB-API connection as the pool has it (``dbapi_connection``).

    Args:
        name: the driver's name, as SQLAlchemy's dialect has it (``psycopg2``, ``pysqlite``, ...).

    Attributes:
        can_discard: whether ``discard_session`` works.
        can_ask_for_writer: whether ``is_writer`` works.
        has_autocommit: whether the session layer may switch ``autocommit`` and read ``transaction``, and so send one
            statement in one round trip.
        reads_by_itself: whether the driver reads its sockets without being asked, so that a connection that was lost
            may be closed already, and its descriptor another's.
        tells_failed: whether ``transaction`` knows a transaction that an error aborted. Else ``commit`` tells.
        takes_several_commands: whether one text may hold several, where no parameter is bound.
        hears_interrupts: whether Ctrl-C gets through while the driver waits for the server.
        placeholders: the letters that may follow ``%`` where a sequence of values is bound.
    """

    can_discard: bool = False
    can_ask_for_writer: bool = False
    has_autocommit: bool = False
    reads_by_itself: bool = False
    tells_failed: bool = True
    takes_several_commands: bool = True
    placeholders: str = "s"
    hears_interrupts: bool = True

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def connect(self, **params: Any) -> Any:
        """Open a connection that remembers its cursors, for ``close_cursors``.

        Args:
            params: for the driver's own ``connect``.

        Raises:
            the driver's own error.
        """
        self._cannot("open a connection by itself")

    # ---- no round trip

    def is_open(self, connection: Any) -> bool:
        """Whether the driver holds the connection for open. One that exposes no state (``closed``) counts as open."""
        return not getattr(connection, "closed", False)

    def is_clean(self, connection: Any) -> bool:
        """Whether the connection is open and outside any transaction. Where the driver cannot tell: open.

        A transaction still open after the reset was begun behind SQLAlchemy's back (``BEGIN`` in autocommit mode,
        say); the next borrower would work in it without knowing.
        """
        return self.is_open(connection)

    def transaction(self, connection: Any) -> Transaction:
        """Where the connection stands with regard to transactions."""
        return Transaction.UNKNOWN

    def descriptor(self, connection: Any) -> int | None:
        """The file descriptor of the connection's socket, to poll; None where there is none."""
        fileno = getattr(connection, "fileno", None)
        if fileno is None:
            return None
        try:
            found = fileno()
        except Exception:  # noqa: BLE001 - any driver's own error: closed, or not connected by a socket
            return None
        return found if isinstance(found, int) and found >= 0 else None

    def encoding(self, connection: Any) -> str | None:
        """The client's encoding, in the driver's spelling; None where the driver does not say."""
        return None

    def sqlstate(self, error: BaseException | None) -> str | None:
        """The SQLSTATE of one of the driver's errors; None where it has none, or is another's."""
        return None

    def error_position(self, error: BaseException | None) -> int | None:
        """Where in the statement the server found the error, in characters from 1; None where it did not say."""
        return None

    def take_notices(self, connection: Any) -> list[str]:
        """The notices that the driver has gathered since last asked. Empty where it hands them to a handler."""
        return []

    def counts_every_execution(self, dialect: Dialect) -> bool:
        """Whether ``rowcount`` after ``executemany`` is that of all executions, as the dialect has them sent."""
        return True

    def asked_for_read_only(self, connection: Any) -> bool:
        """Whether the borrower itself made its transactions read-only, by the driver's attribute."""
        return False

    # ---- from another thread

    def cancel(self, connection: Any) -> bool:
        """Ask the server to cancel the running statement. Call it from a thread that does not use the connection.

        Returns:
            False where the driver has no way to ask.

        Raises:
            the driver's error: the server could not be asked.
        """
        return False

    def shut_down(self, connection: Any) -> None:
        """End whatever a thread waits for on this connection, at once. The connection is lost by that.

        Works on a duplicate of the socket, so that the driver's own descriptor is never closed under its feet. Does
        nothing where there is no socket.
        """
        descriptor = self.descriptor(connection)
        if descriptor is None:
            return
        try:
            with socket.socket(fileno=os.dup(descriptor)) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # closed meanwhile, or no socket at all

    # ---- with a round trip

    def leave_transaction(self, connection: Any) -> None:
        """End a transaction that the driver may have begun for a statement of ours. Sends nothing if there is none."""
        connection.rollback()

    def commit(self, connection: Any) -> bool:
        """Commit, and say whether the server did: it rolls an aborted transaction back without an error."""
        connection.commit()
        return True

    def discard_session(self, connection: Any) -> bool:
        """Clear what a rollback leaves: ``SET``, ``SET ROLE``, temporary tables, advisory locks, ``LISTEN``, ...

        Returns:
            Whether the connection is fit to be kept. False: it could not be cleared.
        """
        self._cannot("clear a session")

    def copy_rows(self, connection: Any, statement: str, rows: Iterable[Sequence[Any]]) -> int:
        """Send rows with ``COPY ... FROM STDIN``. They are read as they are sent; a few at a time are held in memory.

        Args:
            connection: in a transaction, or about to begin one.
            statement: the COPY statement.
            rows: the values in the order of the statement's columns.

        Returns:
            How many rows the server took.

        Raises:
            the driver's error: the server refused, or the driver cannot write a value.
            whatever ``rows`` raises, unchanged; the COPY is then ended, and nothing of it stays.
        """
        self._cannot("COPY rows")

    def is_writer(self, connection: Any) -> bool:
        """Whether the server lets this session write. A standby, or a demoted primary, does not."""
        self._cannot("ask whether the server lets a session write")

    def error_for_read_only(self, connection: Any) -> Exception:
        """The driver's own error for a server that lets nobody write, in libpq's words."""
        return self.operational_error(connection, "session is read-only (the pool was made with require_writer)")

    def operational_error(self, connection: Any, text: str) -> Exception:
        """The driver's own ``OperationalError`` with this text."""
        dbapi = getattr(connection, "dbapi", connection)  # SQLAlchemy's adapters name their module
        error: Exception = dbapi.OperationalError(text)
        return error

    def connection_of(self, cursor: Any) -> Any:
        """The connection of a cursor, as the pool has it."""
        adapter = getattr(cursor, "_adapt_connection", None)
        return cursor.connection if adapter is None else adapter

    # ---- how the connection behaves, on the client's side

    def state(self, connection: Any) -> object:
        """All that the driver lets a borrower change on a connection object: the mode of transactions, factories,
        what it registered for this connection alone, the client's encoding. Equal states behave the same."""
        return None

    def behaves_as(self, connection: Any, state: Any) -> bool:
        """Whether ``state(connection)`` would equal ``state``."""
        return True

    def set_state(self, connection: Any, state: Any) -> None:
        """Make the connection behave as when ``state`` was taken of it. It must be outside any transaction."""

    def isolation_level(self, connection: Any) -> str | None:
        """The level set on the connection object, in SQL's words; None for the server's default."""
        return None

    def forget_isolation_level(self, connection: Any) -> None:
        """Go by the server's default isolation level again."""

    def transactions_are_special(self, connection: Any) -> bool:
        """Whether the connection's transactions have a level, read-only or deferrable of their own, which have no
        effect in autocommit mode."""
        return False

    def close_cursors(self, connection: Any) -> bool:
        """Close the cursors that the borrower made and left open, as far as the connection remembers them.

        Returns:
            Whether the connection is fit to be kept.
        """
        return True

    def is_untouched(self, connection: Any, state: Any) -> bool:
        """Whether ``is_clean``, and ``behaves_as`` this state, and no cursor is left open, all in one: the pool asks it
        at each return, and asks no more where the answer is yes. False where that cannot be told so quickly."""
        return self.is_clean(connection) and self.behaves_as(connection, state)

    def closed_by_borrower(self, connection: Any) -> bool:
        """Whether the connection was closed by ``close()``, rather than lost."""
        return False

    # ---- the end, of connections on an event loop

    def rolling_back(self, connection: Any) -> Awaitable[object] | None:
        """What to await for the end of the transaction; None where ``leave_transaction`` is to be called instead."""
        return None

    def is_cut_off(self, connection: Any) -> bool:
        """Whether a statement is still under way, or its cancellation, though nobody waits for it any more; or the
        connection was lost by that. Nothing can be asked of it then."""
        return self.transaction(connection) in (Transaction.ACTIVE, Transaction.UNKNOWN)

    def cancellation_behind(self, error: BaseException) -> BaseException:
        """The cancellation whose place an error of the driver's took; the error itself where there is none."""
        return error

    def end(self, connection: Any) -> None:
        """Close the connection; a statement that still runs is cancelled. In a greenlet; bounded in time.

        Raises:
            the driver's error: it could not be closed in order. ``terminate`` it.
        """
        connection.close()

    def terminate(self, connection: Any) -> None:
        """Let go of the connection at once, without waiting for anything: from anywhere, also after its loop."""
        force = getattr(connection, "_terminate_force_close", None)  # what SQLAlchemy's adapters have
        if force is not None:
            force()

    def _cannot(self, what: str) -> NoReturn:
        raise NotImplementedError(f"the driver {self.name} cannot {what}")


def check_support(driver: Driver, *, reset: str, require_writer: bool) -> list[Fault]:
    """Find what a pool asks for and its driver cannot do.

    Args:
        driver: the pool's.
        reset: the pool's ``reset``.
        require_writer: the pool's ``require_writer``.

    Returns:
        One fault for each; empty if the driver can do all of it.
    """
    needs = f"needs psycopg2, psycopg 3 or asyncpg, and this pool's driver is {driver.name}: dbkit does not know how to"
    faults = []
    if reset == "discard" and not driver.can_discard:
        faults.append(Fault("reset", f"{needs} clear its sessions", repr(reset)))
    if require_writer and not driver.can_ask_for_writer:
        faults.append(Fault("require_writer", f"{needs} ask its server", repr(require_writer)))
    return faults
