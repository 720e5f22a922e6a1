"""The session layer on an event loop: the same functions, each in a greenlet of its caller's task.

Nothing is written twice. A block that is a context manager begins in one greenlet and ends in another; context
variables are the task's, so what a block sets holds for the task's own code within it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.util import await_only, greenlet_spawn

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy import Row
    from sqlalchemy.orm import Session

    from dbkit.session.stream import RowStream

T = TypeVar("T")
S = TypeVar("S")


def as_async(session: Session) -> AsyncSession:
    """SQLAlchemy's ``AsyncSession`` around a session that there is already."""
    return AsyncSession(sync_session_class=cast("type[Session]", lambda **_: session))


class AsyncSessions(async_sessionmaker[AsyncSession]):
    """SQLAlchemy's ``async_sessionmaker``; its options hold for the sessions of scopes, too."""

    _also: Callable[..., None] | None = None

    def also(self, configure: Callable[..., None]) -> None:
        """Call this with every option that ``configure`` is given."""
        self._also = configure

    def configure(self, **new_kw: Any) -> None:
        """Set options (``expire_on_commit=False``, ...) of the sessions made from now on."""
        super().configure(**new_kw)
        if self._also is not None:
            self._also(**new_kw)


class AsyncBlock(Generic[S, T]):
    """A block of the session layer, for ``async with``.

    Args:
        block: the context manager.
        shown: makes what the block's user gets of what the context manager gives; in a greenlet.
    """

    def __init__(self, block: AbstractContextManager[S], shown: Callable[[S], T]) -> None:
        self._block = block
        self._shown = shown

    async def __aenter__(self) -> T:
        return await greenlet_spawn(self._enter)

    def _enter(self) -> T:
        given = self._block.__enter__()
        try:
            return self._shown(given)
        except BaseException as error:
            self._block.__exit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await greenlet_spawn(self._block.__exit__, kind, error, trace)


class AsyncRowStream:
    """The rows of a query, as they come: ``async for row in db.stream_query(...)``. Iterate it once, in one task.

    The connection is borrowed at the first row, not before, and given back after the last one, by ``aclose()``, at the
    end of an ``async with`` block, after an error, and when the stream is dropped half-way.
    """

    def __init__(self, rows: RowStream, chunk: int) -> None:
        self._rows = _read(rows, chunk)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Row[Any]:
        return await self._rows.__anext__()

    async def aclose(self) -> None:
        """Give the connection back now. What has not been read is not fetched. May be called again."""
        await self._rows.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


async def _read(rows: RowStream, chunk: int) -> AsyncGenerator[Row[Any], None]:
    # A generator of Python's own: where it is dropped half-way, the loop closes it, and so gives the connection back.
    try:
        while batch := await greenlet_spawn(lambda: list(islice(rows, chunk))):
            for row in batch:
                yield row
    finally:
        await greenlet_spawn(rows.close)


def pulled(rows: Iterable[T] | AsyncIterable[T]) -> Iterable[T]:
    """The rows as an iterable, to be read in a greenlet; anything else than an asynchronous iterable as it is."""
    return _pull(rows) if isinstance(rows, AsyncIterable) else rows


def _pull(rows: AsyncIterable[T]) -> Iterator[T]:
    iterator = rows.__aiter__()

    async def following() -> list[T]:
        try:
            return [await iterator.__anext__()]
        except StopAsyncIteration:
            return []

    while row := await_only(following()):
        yield row[0]


def in_transaction(fn: Callable[[AsyncSession], Awaitable[T]]) -> Callable[[Session], T]:
    """A coroutine function of an ``AsyncSession``, as a function of a session that runs in a greenlet."""
    return lambda session: await_only(fn(as_async(session)))


def driver_connection(connection: Any) -> Any:
    """The driver's own connection, in a transaction: psycopg's ``AsyncConnection``, asyncpg's ``Connection``.

    psycopg begins one with the first statement. asyncpg does not, so it is begun here.
    """
    begin = getattr(connection, "_start_transaction", None)
    if begin is not None and connection._transaction is None:
        await_only(begin())
    return connection.driver_connection
