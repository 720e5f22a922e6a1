"""asyncpg, behind SQLAlchemy's adapter, whose ``_connection`` is asyncpg's own.

The loop reads asyncpg's sockets by itself, so most of what a server says on an idle connection is taken note of at
once: a lost one is ``is_closed()``. The socket still tells what has come since the loop last looked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any, Final, NamedTuple

import asyncpg
from sqlalchemy.util import await_only, greenlet_spawn

from dbkit.drivers.asyncpg_params import arguments, keep_alive, one_by_one
from dbkit.drivers.base import Driver, Transaction
from dbkit.drivers.copy_text import CHUNK, copy_lines

CLOSE_TIMEOUT: Final = 2.0
"""Seconds that a graceful close may take, the cancellation of a running statement included."""

_THE_NEXT_MAY_DO: Final = (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)
"""Of several hosts the next one is tried after these, as libpq does."""

_LEVELS: Final = {
    "read_uncommitted": "READ UNCOMMITTED",
    "read_committed": "READ COMMITTED",
    "repeatable_read": "REPEATABLE READ",
    "serializable": "SERIALIZABLE",
}

_modes: Final = attrgetter("isolation_level", "_isolation_setting", "readonly", "deferrable")

_CLEAR: Final = (
    "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; SELECT pg_advisory_unlock_all(); "
    "DISCARD TEMP; DISCARD SEQUENCES"
)
"""``DISCARD ALL`` but for the prepared statements, which asyncpg and SQLAlchemy go on using by their names."""


class AsyncpgState(NamedTuple):
    """All that a borrower may change on a connection object.

    Attributes:
        modes: what SQLAlchemy's adapter begins transactions with.
        encoding: the client's, as the server names it.
        codec: the same as Python knows it.
    """

    modes: tuple[Any, ...]
    encoding: str
    codec: object


class AsyncpgDriver(Driver):
    """The driver that ``postgresql+asyncpg://`` names."""

    can_discard = True
    can_ask_for_writer = True
    has_autocommit = True
    reads_by_itself = True
    tells_failed = False
    takes_several_commands = False

    def connect(self, **params: Any) -> Any:
        from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

        dbapi: Any = PGDialect_asyncpg.import_dbapi()  # type: ignore[no-untyped-call]
        failure: Exception | None = None
        for given in one_by_one(arguments(params)):
            try:
                connection = dbapi.connect(**given)
            except Exception as error:  # noqa: BLE001 - raised below
                failure = error
                if not any(isinstance(each, _THE_NEXT_MAY_DO) for each in (error, error.__cause__)):
                    break
            else:
                keep_alive(connection._connection._transport.get_extra_info("socket"), params)
                return connection
        assert failure is not None, "there is one host at least"
        if isinstance(failure, OSError):  # a timeout too; SQLAlchemy leaves these as they are
            raise dbapi.OperationalError(str(failure) or "the server did not answer in time", failure) from failure
        if isinstance(failure, asyncpg.PostgresError):
            raise _refused(dbapi, failure) from failure
        raise failure

    def is_open(self, connection: Any) -> bool:
        return not connection._connection.is_closed()

    def is_clean(self, connection: Any) -> bool:
        raw = connection._connection
        return bool(
            connection._transaction is None
            and not raw.is_closed()
            and not raw.is_in_transaction()
            and not raw._cancellations  # of a statement that may still take effect, BEGIN for one
        )

    def transaction(self, connection: Any) -> Transaction:
        raw = connection._connection
        if raw.is_closed():
            return Transaction.UNKNOWN
        if connection._transaction is not None or raw.is_in_transaction():
            return Transaction.OPEN  # or failed: asyncpg does not tell these two apart
        return Transaction.NONE

    def is_cut_off(self, connection: Any) -> bool:
        raw = connection._connection
        return bool(raw.is_closed() or raw._cancellations)

    def descriptor(self, connection: Any) -> int | None:
        raw = connection._connection
        if raw.is_closed():
            return None
        socket = raw._transport.get_extra_info("socket")  # nothing public leads there
        return None if socket is None else int(socket.fileno())

    def encoding(self, connection: Any) -> str | None:
        return str(connection._connection.get_settings().client_encoding)

    def sqlstate(self, error: BaseException | None) -> str | None:
        return getattr(error, "sqlstate", None)

    def error_position(self, error: BaseException | None) -> int | None:
        cause = error.__cause__ if error is not None else None
        position = getattr(cause, "position", None)
        return int(position) if position else None

    def asked_for_read_only(self, connection: Any) -> bool:
        return bool(connection.readonly)

    # ---- how the connection behaves

    def state(self, connection: Any) -> AsyncpgState:
        settings = connection._connection.get_settings()
        return AsyncpgState(_modes(connection), settings.client_encoding, settings.get_text_codec())

    def behaves_as(self, connection: Any, state: AsyncpgState) -> bool:
        return self.state(connection) == state

    def is_untouched(self, connection: Any, state: AsyncpgState) -> bool:
        # `is_clean` and `behaves_as` in one piece, as each call in here is felt in each checkout. So the codec is asked
        # for, not the encoding's name, which takes asyncpg 2 us. Only two encodings share one: those of JIS X 0213.
        raw = connection._connection
        if connection._transaction is not None or raw._cancellations or raw.is_closed():
            return False
        protocol = raw._protocol
        return bool(
            not protocol.is_in_transaction()
            and _modes(connection) == state.modes
            and protocol.get_settings().get_text_codec() is state.codec
        )

    def set_state(self, connection: Any, state: AsyncpgState) -> None:
        level, setting, connection.readonly, connection.deferrable = state.modes
        connection.isolation_level, connection._isolation_setting = level, setting
        if connection._connection.get_settings().client_encoding != state.encoding:
            await_only(connection._connection.execute(f"SET client_encoding TO '{state.encoding}'"))

    def isolation_level(self, connection: Any) -> str | None:
        return _LEVELS.get(connection._isolation_setting)

    def forget_isolation_level(self, connection: Any) -> None:
        connection.isolation_level = connection._isolation_setting = None

    def transactions_are_special(self, connection: Any) -> bool:
        return connection.isolation_level in _LEVELS or bool(connection.readonly or connection.deferrable)

    # ---- with a round trip

    def leave_transaction(self, connection: Any) -> None:
        if connection._transaction is not None:
            connection.rollback()
        raw = connection._connection
        if raw._cancellations or raw.is_in_transaction():
            await_only(self._leave(raw))

    async def _leave(self, raw: Any) -> None:
        if raw._cancellations:
            await raw.execute("")  # asyncpg first waits until the cancelled statement has ended
        if raw.is_in_transaction():  # begun behind SQLAlchemy's back
            await raw.execute("ROLLBACK")

    def commit(self, connection: Any) -> bool:
        if connection._transaction is None:
            return True
        raw = connection._connection
        try:
            status = await_only(raw.execute("COMMIT"))
        except asyncpg.PostgresError as error:
            connection._handle_exception(error)
        finally:  # as asyncpg's and SQLAlchemy's own commit leave it, which keep the server's answer to themselves
            raw._top_xact = None
            _forget_transaction(connection)
        return bool(status == "COMMIT")

    def discard_session(self, connection: Any) -> bool:
        if not self.is_clean(connection):
            return False
        try:
            await_only(connection._connection.execute(_CLEAR))
        except Exception:  # noqa: BLE001 - a connection that cannot be cleared is not kept, whatever the reason
            return False
        return True

    def is_writer(self, connection: Any) -> bool:
        return bool(await_only(connection._connection.fetchval("SHOW transaction_read_only")) == "off")

    def copy_rows(self, connection: Any, statement: str, rows: Iterable[Sequence[Any]]) -> int:
        return await_only(self._copy(connection, statement, copy_lines(rows, _as_it_is)))

    async def _copy(self, connection: Any, statement: str, lines: Iterable[str]) -> int:
        async def source() -> AsyncIterator[bytes]:
            # each piece in a greenlet of its own: the rows may come out of an asynchronous iterable
            pieces = batched_text(lines)
            while piece := await greenlet_spawn(next, pieces, ""):
                yield piece.encode()

        if connection._transaction is None:
            await connection._start_transaction()
        try:
            status = await connection._connection._copy_in(statement, source(), None)  # asyncpg names tables, not SQL
        except asyncpg.PostgresError as error:
            connection._handle_exception(error)
        return int(status.split()[-1])

    # ---- the end

    def rolling_back(self, connection: Any) -> Awaitable[object] | None:
        raw = connection._connection
        if connection._transaction is None or raw._cancellations:
            return None
        raw._top_xact = None  # both forget it as by their own rollback; the server's word is what counts from here on
        _forget_transaction(connection)
        rollback: Awaitable[object] = raw.execute("ROLLBACK")
        return rollback

    def end(self, connection: Any) -> None:
        await_only(connection._connection.close(timeout=CLOSE_TIMEOUT))

    def terminate(self, connection: Any) -> None:
        raw = connection._connection
        transport = raw._transport
        with suppress(RuntimeError):  # the loop is closed
            raw.terminate()
        if transport is None or not raw._loop.is_closed():
            return
        # asyncio closes a socket in a turn of its loop, and there will be none. (uvloop has closed it with the loop.)
        transport = getattr(getattr(transport, "_ssl_protocol", None), "_transport", transport)
        socket = getattr(transport, "_sock", None)
        if socket is not None:
            socket.close()
            transport._sock = None


def batched_text(lines: Iterable[str]) -> Iterator[str]:
    """The lines, some ``CHUNK`` characters of them at a time."""
    piece: list[str] = []
    size = 0
    for line in lines:
        piece.append(line)
        size += len(line)
        if size >= CHUNK:
            yield "".join(piece)
            piece, size = [], 0
    if piece:
        yield "".join(piece)


def _as_it_is(value: Any) -> Any:
    return value


def _forget_transaction(connection: Any) -> None:
    """Tell SQLAlchemy's adapter that its transaction is over."""
    connection._transaction = None
    if hasattr(connection, "_started"):  # SQLAlchemy 2.0 notes it twice, and would roll back None
        connection._started = False


def _refused(dbapi: Any, error: asyncpg.PostgresError) -> Exception:
    """The server's refusal of a login as SQLAlchemy's error, which SQLAlchemy 2.0 leaves to us."""
    refused: Any = dbapi.OperationalError(f"{type(error)}: {error}", error)
    refused.pgcode = refused.sqlstate = error.sqlstate
    return refused  # type: ignore[no-any-return]
