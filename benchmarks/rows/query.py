"""``execute_query`` beside what one would write without it, and beside the least that can be written.

Client and server share one processor, and each case connects afresh in every round. Whether a server's process sits on
its client's processor makes a statement cost twice as much or half: else each case would measure its luck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg2
from psycopg_pool import ConnectionPool
from sqlalchemy import Engine, create_engine, text

from benchmarks.measure import Bench, Case, Row, time_per_call
from benchmarks.placement import on_one_processor
from benchmarks.results import Quantity, Target
from dbkit import DatabaseConnectionManager
from dbkit.pool.elastic import ElasticPool

EXECUTE = "execute_query"
BEGIN = "QueuePool, engine.begin(): text()"
ELASTIC_BEGIN = "ElasticPool, engine.begin(): text()"
AUTOCOMMIT = "QueuePool in AUTOCOMMIT, engine.connect(): text()"
PSYCOPG_EXECUTE = "psycopg_pool in autocommit, connection(): execute"
RAW = "held cursor, autocommit"

TURN = 0.002
"""Seconds for each turn: a few statements."""


def _execute_query(dsn: str, stack: ExitStack) -> Case:
    manager = stack.enter_context(DatabaseConnectionManager(dsn))

    def cycle(count: int) -> None:
        for _ in range(count):
            manager.execute_query("SELECT 1")

    return time_per_call(cycle, TURN, before=manager.pool.dispose)


def _engine(dsn: str, stack: ExitStack, **options: Any) -> Engine:
    engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(dsn), **options)
    stack.callback(engine.dispose)
    return engine


def _begin(engine: Engine) -> Case:
    def cycle(count: int) -> None:
        for _ in range(count):
            with engine.begin() as connection:
                connection.execute(text("SELECT 1")).all()

    return time_per_call(cycle, TURN, before=engine.pool.dispose)


def _connect(engine: Engine) -> Case:
    def cycle(count: int) -> None:
        for _ in range(count):
            with engine.connect() as connection:
                connection.execute(text("SELECT 1")).all()

    return time_per_call(cycle, TURN, before=engine.pool.dispose)


def _psycopg(dsn: str, stack: ExitStack) -> Case:
    pool: ConnectionPool[Any] | None = None

    def close() -> None:
        if pool is not None:
            pool.close()

    def reconnect() -> None:
        nonlocal pool
        close()
        pool = ConnectionPool(dsn, min_size=1, max_size=10, kwargs={"autocommit": True}, open=True)
        pool.wait()

    def cycle(count: int) -> None:
        if pool is None:
            raise RuntimeError("not connected yet")
        for _ in range(count):
            with pool.connection() as connection:
                connection.execute("SELECT 1").fetchall()

    stack.callback(close)
    return time_per_call(cycle, TURN, before=reconnect)


def _held(dsn: str, stack: ExitStack) -> Case:
    held: Any = None

    def close() -> None:
        if held is not None:
            held.close()

    def reconnect() -> None:
        nonlocal held
        close()
        held = psycopg2.connect(dsn)
        held.autocommit = True

    def cycle(count: int) -> None:
        for _ in range(count):
            cursor = held.cursor()
            cursor.execute("SELECT 1")
            cursor.fetchall()
            cursor.close()

    stack.callback(close)
    return time_per_call(cycle, TURN, before=reconnect)


@contextmanager
def _cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
    with ExitStack() as stack:
        stack.enter_context(on_one_processor(bench.dsn))
        makers: dict[str, Callable[[], Case]] = {
            EXECUTE: lambda: _execute_query(bench.dsn, stack),
            BEGIN: lambda: _begin(_engine(bench.dsn, stack)),
            ELASTIC_BEGIN: lambda: _begin(_engine(bench.dsn, stack, poolclass=ElasticPool)),
            AUTOCOMMIT: lambda: _connect(_engine(bench.dsn, stack, isolation_level="AUTOCOMMIT")),
            PSYCOPG_EXECUTE: lambda: _psycopg(bench.dsn, stack),
            RAW: lambda: _held(bench.dsn, stack),
        }
        yield {name: make() for name, make in makers.items()}


ROW = Row(
    name="query",
    title="SELECT 1, its rows in hand",
    notes=(
        "Client and server share one processor: else the case would be ahead whose server process the system happened\n"
        "to put on another. engine.begin() takes three round trips (BEGIN, SELECT, COMMIT), all others one.\n"
        "In autocommit mode an engine or a pool is for single statements; execute_query shares the pool with\n"
        "transactions. The held cursor borrows and checks nothing."
    ),
    quantities=(Quantity("time", "seconds"),),
    targets=(
        Target(quantity="time", of=BEGIN, to=EXECUTE, at_least=2.0),
        Target(quantity="time", of=EXECUTE, to=AUTOCOMMIT, at_most=1.0),
        Target(quantity="time", of=EXECUTE, to=PSYCOPG_EXECUTE, at_most=1.2),
        Target(quantity="time", of=ELASTIC_BEGIN, to=BEGIN, at_most=1.1, aim=True),
    ),
    rounds=(31, 5),
    seconds=(40, 6),
    cases=_cases,
)
