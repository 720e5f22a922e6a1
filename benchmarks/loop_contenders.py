"""The pools of an event loop, all behind one interface, each used as its own documents say.

SQLAlchemy's pools are used directly, without an engine's connection around, as the others are: what is compared is the
pool. They roll back what comes back, as psycopg's does; asyncpg's resets the session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import greenlet_spawn

from benchmarks.contenders import TIMEOUT
from dbkit.pool.elastic_asyncio import AsyncElasticPool

ELASTIC = "AsyncElasticPool"
ELASTIC_ASYNCPG = "AsyncElasticPool (asyncpg)"
QUEUE = "AsyncAdaptedQueuePool"
QUEUE_ASYNCPG = "AsyncAdaptedQueuePool (asyncpg)"
PSYCOPG = "psycopg AsyncConnectionPool"
ASYNCPG = "asyncpg pool"


@dataclass
class LoopSource:
    """Where connections come from.

    Attributes:
        dsn: libpq's.
        delay: seconds added to every connect.
        opened: how many were opened so far.
    """

    dsn: str
    delay: float = 0.0
    opened: int = 0

    async def psycopg(self, *_: Any, **__: Any) -> Any:
        """Open a connection of psycopg's."""
        import psycopg

        await self._noted()
        return await psycopg.AsyncConnection.connect(self.dsn)

    async def asyncpg(self, *_: Any, **given: Any) -> Any:
        """Open a connection of asyncpg's."""
        import asyncpg

        await self._noted()
        params: dict[str, Any] = conninfo_to_dict(self.dsn)
        params["database"] = params.pop("dbname")
        known = ("host", "port", "user", "password", "database")
        given = {name: value for name, value in given.items() if name in ("connection_class", "loop", "record_class")}
        return await asyncpg.connect(**given, **{name: params[name] for name in known if name in params})

    async def _noted(self) -> None:
        await asyncio.sleep(self.delay)
        self.opened += 1


@dataclass(frozen=True)
class LoopContender:
    """One pool on the running loop.

    Attributes:
        borrow: a connection.
        run: executes a statement on it and reads the result.
        give_back: a borrowed connection.
        cycle: borrows and gives back this many times, with as little around it as can be.
        close: ends the pool.
    """

    borrow: Callable[[], Awaitable[Any]]
    run: Callable[[Any, str], Awaitable[Any]]
    give_back: Callable[[Any], Awaitable[Any]]
    close: Callable[[], Awaitable[Any]]
    cycle: Callable[[int], Awaitable[Any]] = field(default=None)  # type: ignore[assignment]


def _sqlalchemy(driver: str, poolclass: type, kept: int, most: int, source: LoopSource) -> Any:
    create = getattr(source, driver)
    sizes: dict[str, Any] = (
        {"min_size": kept, "max_size": most}
        if poolclass is AsyncElasticPool
        else {"pool_size": kept, "max_overflow": most - kept}
    )
    return create_async_engine(
        f"postgresql+{driver}://", async_creator=create, poolclass=poolclass, pool_timeout=TIMEOUT, **sizes
    )


async def _on_sqlalchemy(engine: Any, kept: int) -> LoopContender:
    pool = engine.sync_engine.pool

    def execute(connection: Any, sql: str) -> None:
        cursor = connection.cursor()
        cursor.execute(sql)
        cursor.fetchall()
        cursor.close()

    def cycle(count: int) -> None:
        for _ in range(count):
            pool.connect().close()

    warm = [await greenlet_spawn(pool.connect) for _ in range(kept)]
    for connection in warm:
        await greenlet_spawn(connection.close)
    return LoopContender(
        borrow=lambda: greenlet_spawn(pool.connect),
        run=lambda connection, sql: greenlet_spawn(execute, connection, sql),
        give_back=lambda connection: greenlet_spawn(connection.close),
        close=engine.dispose,
        cycle=lambda count: greenlet_spawn(cycle, count),
    )


async def make(name: str, source: LoopSource, kept: int, most: int) -> LoopContender:
    """Make a warm pool on a source, of ``kept`` connections open from the start and ``most`` at most."""
    if name in (ELASTIC, ELASTIC_ASYNCPG, QUEUE, QUEUE_ASYNCPG):
        driver = "asyncpg" if "asyncpg" in name else "psycopg"
        poolclass = AsyncElasticPool if name.startswith(ELASTIC) else AsyncAdaptedQueuePool
        return await _on_sqlalchemy(_sqlalchemy(driver, poolclass, kept, most, source), kept)
    if name == PSYCOPG:
        return await _psycopg(source, kept, most)
    return await _asyncpg(source, kept, most)


async def _psycopg(source: LoopSource, kept: int, most: int) -> LoopContender:
    import psycopg
    from psycopg_pool import AsyncConnectionPool

    class Noted(psycopg.AsyncConnection[Any]):
        @classmethod
        async def connect(cls, *args: Any, **kwargs: Any) -> Any:
            await source._noted()
            return await super().connect(*args, **kwargs)

    pool: Any = AsyncConnectionPool(
        source.dsn, connection_class=Noted, min_size=kept, max_size=most, timeout=TIMEOUT, open=False
    )
    await pool.open(wait=True)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it warns of every transaction it rolls back

    async def run(connection: Any, sql: str) -> None:
        await (await connection.execute(sql)).fetchall()

    async def cycle(count: int) -> None:
        for _ in range(count):
            await pool.putconn(await pool.getconn())

    return LoopContender(pool.getconn, run, pool.putconn, pool.close, cycle)


async def _asyncpg(source: LoopSource, kept: int, most: int) -> LoopContender:
    import asyncpg

    pool = await asyncpg.create_pool(connect=source.asyncpg, min_size=kept, max_size=most)

    async def cycle(count: int) -> None:
        for _ in range(count):
            await pool.release(await pool.acquire(timeout=TIMEOUT))

    return LoopContender(
        borrow=lambda: pool.acquire(timeout=TIMEOUT),
        run=lambda connection, sql: connection.fetch(sql),
        give_back=pool.release,
        close=pool.close,
        cycle=cycle,
    )
