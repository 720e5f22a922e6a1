"""The pools, all behind one interface, each used as its own documents say.

What differs by nature and is not hidden: psycopg_pool serves psycopg 3 connections, the others psycopg2's;
``ThreadedConnectionPool`` has no line (it raises when all are out), so it does not appear where threads wait;
DBUtils and psycopg_pool roll back what comes back, as SQLAlchemy does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import psycopg2
import psycopg2.pool
from sqlalchemy import create_engine
from sqlalchemy.pool import ConnectionPoolEntry, Pool, QueuePool

from dbkit.pool.elastic import ElasticPool

ELASTIC = "ElasticPool"
QUEUE = "QueuePool"
QUEUE_PING = "QueuePool pre_ping"
FLOOR = "floor (no logic)"
PSYCOPG = "psycopg_pool"
THREADED = "ThreadedConnectionPool"
DBUTILS = "DBUtils PooledDB"
QUEUE_KEEPS = "QueuePool pool_size=max"
DBUTILS_KEEPS = "DBUtils maxcached=0"

TIMEOUT = 60.0
"""Seconds a borrower waits, in every pool: longer than any row runs."""


@dataclass
class Source:
    """Where connections come from.

    Attributes:
        dsn: libpq's.
        delay: seconds added to every connect: a server that is far away, or checks passwords slowly.
        begun: when connects began, on the perf_counter clock.
        opened: when they were there, and the number of the connection.
    """

    dsn: str
    delay: float = 0.0
    begun: list[float] = field(default_factory=list)
    opened: list[tuple[float, int]] = field(default_factory=list)

    def connect(self, *_: Any, **__: Any) -> Any:
        """Open a psycopg2 connection."""
        return self.noted(lambda: psycopg2.connect(self.dsn))

    def noted(self, connect: Callable[[], Any]) -> Any:
        """Connect, late, and write it down."""
        self.begun.append(time.perf_counter())
        time.sleep(self.delay)
        connection = connect()
        self.opened.append((time.perf_counter(), id(connection)))
        return connection

    def settle(self) -> None:
        """Wait until nothing is being opened any more.

        Raises:
            TimeoutError: that takes too long.
        """
        deadline = time.perf_counter() + TIMEOUT
        while len(self.opened) < len(self.begun):
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{len(self.begun) - len(self.opened)} connects are still under way")
            time.sleep(0.005)


@dataclass(frozen=True)
class Contender:
    """One pool.

    Attributes:
        borrow: a connection with ``cursor()``.
        give_back: a borrowed connection.
        cycle: borrows and gives back this many times, with as little around it as can be.
        close: ends the pool.
        number: which connection it is that was borrowed; matches ``Source.opened``.
    """

    borrow: Callable[[], Any]
    give_back: Callable[[Any], None]
    cycle: Callable[[int], None]
    close: Callable[[], None]
    number: Callable[[Any], int] = id


class Maker(Protocol):
    """Makes a warm pool on a source.

    Args:
        source: where connections come from.
        kept: connections open from the start, and kept.
        most: connections at most.
        timeout: seconds a borrower waits.
    """

    def __call__(self, source: Source, kept: int, most: int, timeout: float = TIMEOUT, /) -> Contender:
        """Make it."""


def elastic(source: Source, kept: int, most: int, timeout: float = TIMEOUT) -> Contender:
    """ElasticPool as it comes."""
    engine = create_engine(
        "postgresql+psycopg2://",
        creator=source.connect,
        poolclass=ElasticPool,
        min_size=kept,
        max_size=most,
        pool_timeout=timeout,
    )
    return on_sqlalchemy(engine.pool, kept)


def queue(source: Source, kept: int, most: int, timeout: float = TIMEOUT) -> Contender:
    """SQLAlchemy's QueuePool without validation: ``pool_size`` connections are kept, the overflow is closed."""
    return on_sqlalchemy(_queue(source, kept, most - kept, timeout), kept)


def queue_keeps(source: Source, kept: int, most: int, timeout: float = TIMEOUT) -> Contender:
    """SQLAlchemy's QueuePool with ``max_overflow=0``: it opens connections as they are needed and keeps all of them."""
    return on_sqlalchemy(_queue(source, most, 0, timeout), kept)


def queue_ping(source: Source, kept: int, most: int, timeout: float = TIMEOUT) -> Contender:
    """SQLAlchemy's QueuePool with ``pool_pre_ping``."""
    return on_sqlalchemy(_queue(source, kept, most - kept, timeout, pre_ping=True), kept)


def _queue(source: Source, size: int, overflow: int, timeout: float, *, pre_ping: bool = False) -> Pool:
    engine = create_engine(
        "postgresql+psycopg2://",
        creator=source.connect,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=overflow,
        pool_timeout=timeout,
        pool_pre_ping=pre_ping,
    )
    return engine.pool


class Floor(Pool):
    """No pool at all: one connection, always the same. What is left is SQLAlchemy's own cost of a checkout."""

    _entry: ConnectionPoolEntry | None = None

    def _do_get(self) -> ConnectionPoolEntry:
        if self._entry is None:
            self._entry = self._create_connection()
        return self._entry

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        pass

    def dispose(self) -> None:
        """Close the connection."""
        if self._entry is not None:
            self._entry.close()

    def status(self) -> str:
        """One line for people."""
        return "the floor"


def floor(source: Source, kept: int, most: int, timeout: float = TIMEOUT) -> Contender:
    """The least a SQLAlchemy pool can do."""
    return on_sqlalchemy(create_engine("postgresql+psycopg2://", creator=source.connect, poolclass=Floor).pool, 1)


def on_sqlalchemy(pool: Pool, kept: int) -> Contender:
    """Any SQLAlchemy pool, warmed up. Connections stand for themselves: a cursor on them is the driver's own."""

    def cycle(count: int) -> None:
        connect = pool.connect
        for _ in range(count):
            connect().close()

    contender = Contender(
        borrow=pool.connect,
        give_back=lambda connection: connection.close(),
        cycle=cycle,
        close=pool.dispose,
        number=lambda connection: id(connection.dbapi_connection),
    )
    _warm(contender, kept)
    return contender


def psycopg_pool(source: Source, kept: int, most: int, timeout: float = TIMEOUT) -> Contender:
    """psycopg_pool's ConnectionPool."""
    import psycopg
    from psycopg_pool import ConnectionPool

    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it warns of each rollback, which we leave to it

    class Noted(psycopg.Connection[Any]):
        @classmethod
        def connect(cls, conninfo: str = "", **options: Any) -> Any:
            connect = super().connect  # not within the lambda, where super() knows no class
            return source.noted(lambda: connect(conninfo, **options))

    pool = ConnectionPool(source.dsn, connection_class=Noted, min_size=kept, max_size=most, timeout=timeout, open=True)
    pool.wait(TIMEOUT)
    return _get_and_put(pool.getconn, pool.putconn, pool.close)


def threaded(source: Source, kept: int, most: int, timeout: float = TIMEOUT) -> Contender:
    """psycopg2's ThreadedConnectionPool."""
    pool = psycopg2.pool.ThreadedConnectionPool(kept, most, source.dsn, connection_factory=source.connect)
    return _get_and_put(pool.getconn, pool.putconn, pool.closeall)


def dbutils(source: Source, kept: int, most: int, timeout: float = TIMEOUT) -> Contender:
    """DBUtils' PooledDB, dedicated connections, waiting when all are out; ``maxcached`` of them are kept."""
    return _dbutils(source, kept, kept, most)


def dbutils_keeps(source: Source, kept: int, most: int, timeout: float = TIMEOUT) -> Contender:
    """DBUtils' PooledDB with its default ``maxcached=0``, which means that all connections are kept."""
    return _dbutils(source, kept, 0, most)


def _dbutils(source: Source, warm: int, maxcached: int, most: int) -> Contender:
    from dbutils.pooled_db import PooledDB  # type: ignore[import-untyped]

    pool = PooledDB(_Creator(source), mincached=warm, maxcached=maxcached, maxconnections=most, blocking=True)

    def cycle(count: int) -> None:
        connection = pool.connection
        for _ in range(count):
            connection().close()

    return Contender(
        borrow=pool.connection,
        give_back=lambda connection: connection.close(),
        cycle=cycle,
        close=pool.close,
    )


class _Creator:
    """A creator that says which DB-API module it is of, as DBUtils asks."""

    dbapi = psycopg2
    threadsafety = psycopg2.threadsafety

    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(self) -> Any:
        return self._source.connect()


def _get_and_put(get: Callable[[], Any], put: Callable[[Any], None], close: Callable[[], None]) -> Contender:
    def cycle(count: int) -> None:
        for _ in range(count):
            put(get())

    return Contender(borrow=get, give_back=put, cycle=cycle, close=close)


def _warm(contender: Contender, kept: int) -> None:
    """Have so many connections open: by having them all out at once."""
    ready = threading.Barrier(kept)

    def hold() -> None:
        connection = contender.borrow()
        ready.wait(TIMEOUT)
        contender.give_back(connection)

    threads = [threading.Thread(target=hold) for _ in range(kept)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


MAKERS: dict[str, Maker] = {
    ELASTIC: elastic,
    QUEUE: queue,
    QUEUE_PING: queue_ping,
    FLOOR: floor,
    PSYCOPG: psycopg_pool,
    THREADED: threaded,
    DBUTILS: dbutils,
    QUEUE_KEEPS: queue_keeps,
    DBUTILS_KEEPS: dbutils_keeps,
}
"""Every pool, by name."""
