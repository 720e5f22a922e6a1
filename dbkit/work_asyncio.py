"""``Work`` on an event loop: the same names, arguments and errors, as coroutines. Only delegates."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.util import greenlet_spawn

from dbkit.session.asyncio import (
    AsyncBlock,
    AsyncRowStream,
    as_async,
    driver_connection,
    in_transaction,
    pulled,
)
from dbkit.work import Work

if TYPE_CHECKING:
    from sqlalchemy import Engine, Executable, Table
    from sqlalchemy.ext.asyncio import AsyncSession

    from dbkit.runtime.deadlines import Deadline
    from dbkit.session.batches import Progress
    from dbkit.session.query import Params
    from dbkit.session.result import QueryResult
    from dbkit.session.scope_settings import Value
    from dbkit.session.tags import Tags

T = TypeVar("T")
P = ParamSpec("P")
Rows = Iterable[Mapping[str, Any] | Sequence[Any]] | AsyncIterable[Mapping[str, Any] | Sequence[Any]]


class AsyncWork:
    """The working side of ``AsyncDatabaseConnectionManager``. For the tasks of one event loop.

    Each method is that of the same name of ``Work``, where its arguments and errors are described.

    Args:
        engine: the sync engine of an ``AsyncEngine``, whose pool everything borrows from.
    """

    def __init__(self, engine: Engine) -> None:
        self._work = Work(engine)

    async def run_sync(self, fn: Callable[Concatenate[Work, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run synchronous code that was written for a manager, here: ``await db.run_sync(report, month=5)``.

        As SQLAlchemy's ``AsyncSession.run_sync``: the function runs in this task, and what it asks of the database does
        not keep the loop waiting.

        Args:
            fn: called with the working side of a manager (``execute_query``, ``session_scope``, ...) and the rest.
            args, kwargs: for ``fn``.

        Returns:
            What it returned.
        """
        return await greenlet_spawn(lambda: fn(self._work, *args, **kwargs))

    async def execute_query(
        self,
        query: str | Executable,
        params: Params = None,
        *,
        timeout: float | None = None,
        read_only: bool = False,
        tags: Tags = None,
    ) -> QueryResult:
        """Execute one statement, commit it, and return all its rows: one round trip.

        asyncpg prepares a text when it meets it for the first time, in a round trip before that.
        """
        return await greenlet_spawn(
            self._work.execute_query, query, params, timeout=timeout, read_only=read_only, tags=tags
        )

    async def query_file(
        self, path: str | os.PathLike[str], params: Params = None, *, tags: Tags = None
    ) -> QueryResult:
        """Execute the SQL text in a file, as ``execute_query`` does."""
        return await greenlet_spawn(self._work.query_file, path, params, tags=tags)

    async def execute_many(self, query: str | Executable, rows: Rows, *, batch: int = 1000, tags: Tags = None) -> int:
        """Execute one statement for each row of any iterable, also an asynchronous one, all or nothing."""
        return await greenlet_spawn(self._work.execute_many, query, pulled(rows), batch=batch, tags=tags)

    def stream_query(
        self, query: str | Executable, params: Params = None, *, chunk: int = 1000, tags: Tags = None
    ) -> AsyncRowStream:
        """The rows of a query, ``chunk`` of them in memory at a time: ``async for row in db.stream_query(...)``."""
        return AsyncRowStream(self._work.stream_query(query, params, chunk=chunk, tags=tags), chunk)

    async def copy_rows(
        self,
        table: str | Sequence[str] | Table | type,
        rows: Rows,
        *,
        columns: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Add rows of any iterable, also an asynchronous one, to a table over COPY, all or nothing."""
        return await greenlet_spawn(self._work.copy_rows, table, pulled(rows), columns=columns, progress=progress)

    async def upsert_rows(
        self,
        table: str | Sequence[str] | Table | type,
        rows: Rows,
        *,
        key: str | Sequence[str],
        columns: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Add rows, or change those with the same key, all or nothing."""
        return await greenlet_spawn(
            self._work.upsert_rows, table, pulled(rows), key=key, columns=columns, progress=progress
        )

    def session_scope(
        self,
        *,
        read_only: bool = False,
        isolation_level: str | None = None,
        timeout: float | None = None,
        settings: Mapping[str, Value] | None = None,
        nested: bool = False,
    ) -> AbstractAsyncContextManager[AsyncSession]:
        """An ``AsyncSession`` for the length of a block: committed, or rolled back if it raises."""
        scope = self._work.session_scope(
            read_only=read_only, isolation_level=isolation_level, timeout=timeout, settings=settings, nested=nested
        )
        return AsyncBlock(scope, as_async)

    def settings_for(self, provide: Callable[[], Mapping[str, Value]] | None) -> None:
        """Ask a function for the server's settings whenever a transaction of a session begins: the tenant, the role."""
        self._work.settings_for(provide)

    async def run_in_transaction(
        self,
        fn: Callable[[AsyncSession], Awaitable[T]],
        *,
        retries: int = 5,
        isolation_level: str | None = None,
        read_only: bool = False,
        timeout: float | None = None,
        is_committed: Callable[[AsyncSession], Awaitable[bool]] | None = None,
    ) -> T:
        """Run ``await fn(session)`` and commit; run it again after a conflict."""
        return await greenlet_spawn(
            self._work.run_in_transaction,
            in_transaction(fn) if callable(fn) else fn,
            retries=retries,
            isolation_level=isolation_level,
            read_only=read_only,
            timeout=timeout,
            is_committed=None if is_committed is None else in_transaction(is_committed),
        )

    def transactional(
        self,
        *,
        retries: int = 5,
        isolation_level: str | None = None,
        read_only: bool = False,
        timeout: float | None = None,
        is_committed: Callable[[AsyncSession], Awaitable[bool]] | None = None,
    ) -> Callable[[Callable[Concatenate[AsyncSession, P], Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
        """A decorator for coroutine functions whose first parameter is a session: a call gives the others."""

        def decorate(fn: Callable[Concatenate[AsyncSession, P], Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
            @wraps(fn)
            async def run(*args: P.args, **kwargs: P.kwargs) -> T:
                return await self.run_in_transaction(
                    lambda session: fn(session, *args, **kwargs),
                    retries=retries,
                    isolation_level=isolation_level,
                    read_only=read_only,
                    timeout=timeout,
                    is_committed=is_committed,
                )

            return run

        return decorate

    def deadline(self, seconds: float) -> AbstractContextManager[Deadline]:
        """Bound all that a block asks: waiting, connecting and statements. A plain ``with``: it waits for nothing."""
        return self._work.deadline(seconds)

    def raw_connection(self) -> AbstractAsyncContextManager[Any]:
        """The driver's own connection for a block: psycopg's ``AsyncConnection``, or asyncpg's ``Connection``.

        In a transaction: committed, or rolled back if the block raises.
        """
        return AsyncBlock(self._work.raw_connection(), driver_connection)
