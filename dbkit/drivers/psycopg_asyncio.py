"""psycopg 3 on an event loop, behind SQLAlchemy's adapter, whose ``_connection`` is psycopg's own.

Reading needs no await. What awaits does so through SQLAlchemy's greenlet bridge, in a greenlet of its caller.
"""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop, wait_for
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg
from sqlalchemy.util import await_only

from dbkit.drivers.base import Transaction
from dbkit.drivers.cursors import remembering, still_open
from dbkit.drivers.libpq import plain_encoding
from dbkit.drivers.psycopg import CANCEL_TIMEOUT, PsycopgDriver, PsycopgState, restore_adapters
from dbkit.drivers.psycopg_rollback import Rollback, is_plain

_NO_TRANSACTION: Final = int(Transaction.NONE)
_ACTIVE: Final = int(Transaction.ACTIVE)
_NONE: Final[dict[int, Any]] = {}
LEAVE_TIMEOUT: Final = 2.0
"""Seconds that a task gets to leave its statement, once that was cancelled: the connection is not closed under it."""

_MODES: Final = ("isolation_level", "read_only", "deferrable", "autocommit")
"""Set by coroutines, where the synchronous connection has attributes."""


class AsyncPsycopgDriver(PsycopgDriver):
    """The driver that ``postgresql+psycopg://`` names, on connections of an event loop."""

    def connect(self, **params: Any) -> Any:
        from sqlalchemy.dialects.postgresql.psycopg import PGDialectAsync_psycopg

        create: Any = remembering(psycopg.AsyncConnection)
        dbapi: Any = PGDialectAsync_psycopg.import_dbapi()  # type: ignore[no-untyped-call]
        return dbapi.connect(async_creator_fn=create.connect, **params)

    def is_open(self, connection: Any) -> bool:
        return not connection._connection.closed

    def is_clean(self, connection: Any) -> bool:
        # A connection that is closed or lost has no status but UNKNOWN.
        return bool(connection._connection.pgconn.transaction_status == _NO_TRANSACTION)

    def transaction(self, connection: Any) -> Transaction:
        return super().transaction(connection._connection)

    def descriptor(self, connection: Any) -> int | None:
        raw = connection._connection
        return None if raw.closed else int(raw.pgconn.socket)

    def encoding(self, connection: Any) -> str | None:
        return super().encoding(connection._connection)

    def asked_for_read_only(self, connection: Any) -> bool:
        return super().asked_for_read_only(connection._connection)

    def isolation_level(self, connection: Any) -> str | None:
        return super().isolation_level(connection._connection)

    def transactions_are_special(self, connection: Any) -> bool:
        return super().transactions_are_special(connection._connection)

    def closed_by_borrower(self, connection: Any) -> bool:
        return super().closed_by_borrower(connection._connection)

    # ---- how the connection behaves

    def state(self, connection: Any) -> PsycopgState:
        return super().state(connection._connection)

    def behaves_as(self, connection: Any, state: PsycopgState) -> bool:
        return super().behaves_as(connection._connection, state)

    def is_untouched(self, connection: Any, state: PsycopgState) -> bool:
        return super().is_untouched(connection._connection, state)

    def set_state(self, connection: Any, state: PsycopgState) -> None:
        raw = connection._connection
        settings = state.settings()
        modes = [(name, settings.pop(name)) for name in _MODES]
        for name, value in settings.items():
            setattr(raw, name, value)
        restore_adapters(raw, state)
        await_only(self._set_modes(raw, modes))
        if state.encoding and raw.pgconn.parameter_status(b"client_encoding") != state.encoding:
            self._in_autocommit(connection, f"SET client_encoding TO '{plain_encoding(state.encoding.decode())}'")

    async def _set_modes(self, raw: Any, modes: Iterable[tuple[str, Any]]) -> None:
        for name, value in modes:
            await getattr(raw, f"set_{name}")(value)

    def forget_isolation_level(self, connection: Any) -> None:
        await_only(connection._connection.set_isolation_level(None))

    def close_cursors(self, connection: Any) -> bool:
        left = still_open(getattr(connection._connection, "dbkit_cursors", _NONE))
        try:
            for cursor in left:
                await_only(cursor.close())
            self.leave_transaction(connection)
        except Exception:  # noqa: BLE001 - a cursor that cannot be closed goes with its connection
            return False
        return self.is_clean(connection)

    # ---- with a round trip

    def _in_autocommit(self, connection: Any, statement: str) -> Any:
        return await_only(self._alone(connection._connection, statement))

    async def _alone(self, raw: Any, statement: str) -> Any:
        before = raw.autocommit
        await raw.set_autocommit(True)
        try:
            cursor = await raw.execute(statement, prepare=False)
            return (await cursor.fetchone())[0] if cursor.description else None
        finally:
            if not raw.closed:
                await raw.set_autocommit(before)

    def _discard(self, connection: Any) -> None:
        raw = connection._connection
        raw._prepared.clear()
        self._in_autocommit(connection, "DISCARD ALL")
        await_only(self._read_notifications(raw))

    async def _read_notifications(self, raw: Any) -> None:
        async for _ in raw.notifies(timeout=0):
            pass

    def copy_rows(self, connection: Any, statement: str, rows: Iterable[Sequence[Any]]) -> int:
        cursor = connection._connection.cursor()
        copying = cursor.copy(statement)
        copy = await_only(copying.__aenter__())
        try:
            for row in rows:  # in this greenlet: they may come out of an asynchronous iterable
                await_only(copy.write_row(row))
        except BaseException as error:
            await_only(copying.__aexit__(type(error), error, error.__traceback__))
            raise
        await_only(copying.__aexit__(None, None, None))
        copied = int(cursor.rowcount)
        await_only(cursor.close())
        return copied

    # ---- the end

    def rolling_back(self, connection: Any) -> Awaitable[object] | None:
        raw = connection._connection
        if is_plain(raw):
            return Rollback(raw, get_running_loop()).over
        rollback: Awaitable[object] = raw.rollback()
        return rollback

    def cancellation_behind(self, error: BaseException) -> BaseException:
        # psycopg asserts that a pipeline was left which a cancellation cut off as it was entered
        before = error.__context__
        return before if isinstance(error, AssertionError) and isinstance(before, CancelledError) else error

    def cancel(self, connection: Any) -> bool:
        await_only(connection._connection.cancel_safe(timeout=CANCEL_TIMEOUT))
        return True

    def end(self, connection: Any) -> None:
        raw = connection._connection
        if raw.pgconn.transaction_status == _ACTIVE:  # else the server would go on with a statement nobody waits for
            self.cancel(connection)
        await_only(wait_for(raw.lock.acquire(), LEAVE_TIMEOUT))
        raw.lock.release()
        await_only(raw.close())

    def terminate(self, connection: Any) -> None:
        raw = connection._connection
        raw._closed = True  # not broken: we wanted it
        if not raw.lock.locked():
            raw.pgconn.finish()
            return
        # In the midst of a statement psycopg's generator has libpq's connection by its address: to free that would
        # crash the process. libpq closes it by itself when it reads the end, and the generator finds that.
        self.shut_down(connection)
        with suppress(psycopg.Error):
            raw.pgconn.consume_input()
