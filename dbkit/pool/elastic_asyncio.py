"""``AsyncElasticPool``: the same pool on an event loop.

Everything that decides is shared with ``ElasticPool``; the reasons for what is not are in docs/decisions/asyncio.md.
Invariants:

1. A pool serves one event loop. Once that is closed, the pool starts afresh on the next; what is left of the old loop's
   connections is ended without a word.
2. Nothing that a borrower leaves half done is left to the borrower: where it is cancelled while the connection that it
   gives back is cleared, a task of the pool's own goes on with that. Connecting and closing are such tasks from the
   start. All of it is bounded in time.
3. Where nothing can be awaited - in the garbage collector, on another thread, after the loop - a connection is
   terminated; its slot is free at once.
"""

from __future__ import annotations

import asyncio
import weakref
from _thread import allocate_lock
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from dbkit.core.reasons import CloseReason
from dbkit.pool.base import BasePool
from dbkit.pool.errors import ConnectCancelledError, TwoLoopsError
from dbkit.pool.internals import (
    AsyncStandIn,
    dialect_of,
    forget_first_connect,
    log_label,
    reset_commit,
    reset_none,
    reset_rollback,
)
from dbkit.runtime.loop import LAST_CALL, LoopRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.pool import ConnectionPoolEntry

    from dbkit.core.holding import Holder
    from dbkit.core.matching import Lasting
    from dbkit.pool.slot import PooledSlot
    from dbkit.runtime.base import Runtime

RESET_TIMEOUT: Final = 5.0
"""Seconds that clearing a connection on its return may take; after that it is closed."""

CLOSE_TIMEOUT: Final = 5.0
"""Seconds that ``dispose`` and ``close`` wait for sockets to be closed."""

_binding = allocate_lock()
"""Held while a pool is bound to a loop: two threads with a loop each may want the same pool."""


class AsyncElasticPool(BasePool):
    """``ElasticPool`` for engines of an event loop: the same arguments, statistics, observer and errors.

    ::

        engine = create_async_engine(
            "postgresql+psycopg://user@host/db", poolclass=AsyncElasticPool, min_size=2, max_size=10
        )

    For psycopg 3 and asyncpg. Borrowers are tasks. A cancelled task loses no connection, wherever it is cancelled. The
    pool belongs to the event loop that uses it first; when that is closed, to the next one. Use it from tasks of that
    loop; ``stats()`` and ``holders()`` may be called from any thread.

    Raises:
        SettingsError: naming every argument that is wrong, or that the dialect's driver cannot do.
    """

    _is_asyncio: ClassVar[bool] = True
    _other_class: ClassVar[str] = "ElasticPool"
    _dialect = AsyncStandIn()
    _runtime_class: ClassVar[type[Runtime]] = LoopRuntime
    _runtime: LoopRuntime

    # ---- the loop

    def bind(self) -> None:
        """Belong to the loop that runs here, as the first borrow does.

        Raises:
            TwoLoopsError: the pool has connections on another one, which is not closed.
        """
        loop = asyncio.get_running_loop()
        with _binding:
            mine = self._runtime.loop
            if mine is loop:
                return
            if mine is not None:
                if not mine.is_closed() and (self._ledger.size or self._ledger.line):
                    raise TwoLoopsError(
                        f"this pool serves the event loop {_named(mine)}, which is not closed, and cannot serve "
                        f"{_named(loop)} too: make an engine for each loop, or await engine.dispose() on the first"
                    )
                self._leave_loop()
            self._runtime.bind(loop, partial(_end_with_loop, weakref.ref(self)))

    def _leave_loop(self) -> None:
        """Start afresh, without a word to the server about connections that are left of a loop that is over."""
        self._ledger.dispose(monotonic())
        left = list(self._ledger.slots)
        lasting: Lasting = self._ledger.lasting()
        left += [action.slot for action in self._ledger.todo]
        self._start_afresh(lasting)
        forget_first_connect(self)
        for slot in left:
            connection = slot.dbapi_connection
            slot.forget()
            if connection is not None:
                self.driver.terminate(connection)

    def _close_with_loop(self) -> None:
        """The loop is about to be closed: close what there is, in order."""
        self._step(lambda ledger: ledger.dispose(monotonic()))
        await_only(self._runtime.settle(LAST_CALL, cancel=True))

    # ---- lending and taking back

    def _do_get(self) -> ConnectionPoolEntry:
        if asyncio._get_running_loop() is not self._runtime.loop:
            self.bind()
        return super()._do_get()

    def _put_in_order(self, slot: PooledSlot, connection: Any) -> bool:
        if self._resets_with is reset_none:
            return super()._put_in_order(slot, connection)
        if not in_greenlet() or asyncio._get_running_loop() is not self._runtime.loop:
            return False
        clearing = self._clearing(slot, connection)
        if self._runtime.ending:  # no task would be run to its end
            return await_only(clearing)
        fit: bool = self._runtime.see_through(clearing, partial(self._was_cleared, slot))
        return fit

    async def _clearing(self, slot: PooledSlot, connection: Any) -> bool:
        """Clear the connection of all that a borrower may leave. False: it is not fit to be kept."""
        clock = self._runtime.clock
        limit = clock.limit(RESET_TIMEOUT, partial(self.driver.shut_down, connection))
        try:
            rollback = self.driver.rolling_back(connection) if self._resets_with is reset_rollback else None
            if rollback is not None:
                await rollback
                if self._is_untouched(connection, slot.manners):
                    return True
            return await greenlet_spawn(self._clear, slot, connection)
        except Exception as error:  # noqa: BLE001 - of any kind: this connection is not kept
            self.logger.info("%s: a connection could not be cleared: %r", log_label(self), error)
            return False
        finally:
            clock.give_up(limit)

    def _clear(self, slot: PooledSlot, connection: Any) -> bool:
        if self._resets_with is reset_commit:
            dialect_of(self).do_commit(connection)
        self.driver.leave_transaction(connection)
        return self._is_untouched(connection, slot.manners) or super()._put_in_order(slot, connection)

    def _was_cleared(self, slot: PooledSlot, clearing: asyncio.Task[bool]) -> None:
        """The clearing is done, and its borrower, which was cancelled, did not wait for that."""
        if not _is_fit(clearing):
            self._enter(slot, CloseReason.UNFIT)
        elif self._ledger.give_back(slot, monotonic()):
            self._enter(slot)

    # ---- closing

    def _close(self, close: Callable[[], None], *, here: bool) -> None:
        super()._close(close, here=self._runtime.ending)

    def _close_connection(self, connection: Any, *, terminate: bool = False) -> None:
        """Close a connection: here in a job, which waits for it; else a job does it, and nobody waits."""
        self.logger.debug("%s connection %r", "Hard-closing" if terminate else "Closing", connection)
        end = partial(self._end, connection)
        if not terminate or not self._runtime.spawn(end, None):
            end()

    def _end(self, connection: Any) -> None:
        if not in_greenlet() or asyncio._get_running_loop() is not self._runtime.loop:
            self.driver.terminate(connection)
            return
        try:
            self.driver.end(connection)
        except BaseException as error:
            self.logger.debug("a connection is terminated, as it could not be closed in order: %r", error)
            self.driver.terminate(connection)
            if not isinstance(error, Exception):
                raise

    def _failure(self, slot: PooledSlot, error: BaseException) -> BaseException:
        connection = slot.dbapi_connection
        if connection is not None:  # connected, and then cut off in a ``connect`` event: SQLAlchemy 2.0 leaves it open
            slot.dbapi_connection = None
            self.driver.terminate(connection)
        if not isinstance(error, asyncio.CancelledError):
            return error
        return ConnectCancelledError("the task of the pool's own was cancelled that opened a connection; borrow again")

    # ---- operations

    async def warm_up(self, timeout: float | None = None) -> None:
        """Open ``min_size`` connections, in parallel, and return when they are there. See ``ElasticPool.warm_up``."""
        self.bind()
        await greenlet_spawn(self.open_minimum, timeout)

    async def pause(self, timeout: float = 5.0) -> tuple[Holder, ...]:
        """Let nobody have a connection until ``resume()``; borrowers stand in line. See ``ElasticPool.pause``."""
        self.bind()
        return await greenlet_spawn(self._pause, timeout)

    async def close(self, timeout: float = 5.0) -> tuple[Holder, ...]:
        """Close the pool for good, and end all its tasks. See ``ElasticPool.close``.

        Cancelled, the pool is closed all the same; only the waiting ends.
        """
        self.bind()
        holders = await greenlet_spawn(self._close_for_good, timeout)
        await self._runtime.settle(CLOSE_TIMEOUT if not holders else 0.0, cancel=not holders)
        return holders

    def dispose(self) -> None:
        """Close what is idle now, and what is out when it comes back. The pool stays usable. See ``ElasticPool``.

        ``await engine.dispose()`` calls this; it returns when the idle connections are closed.
        """
        loop = self._runtime.loop
        if loop is not None and loop.is_closed():
            self._leave_loop()
            return
        super().dispose()
        if in_greenlet() and asyncio._get_running_loop() is loop:
            await_only(self._runtime.settle(CLOSE_TIMEOUT))


async def _end_with_loop(pool_ref: weakref.ref[AsyncElasticPool]) -> None:
    pool = pool_ref()
    if pool is not None:
        await greenlet_spawn(pool._close_with_loop)


def _is_fit(clearing: asyncio.Task[bool]) -> bool:
    return not clearing.cancelled() and clearing.exception() is None and clearing.result()


def _named(loop: asyncio.AbstractEventLoop) -> str:
    return f"{loop!r} at {id(loop):#x}"
