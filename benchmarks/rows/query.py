"""``execute_query`` beside what one would write without it, and beside the least that can be written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import psycopg2
from psycopg_pool import ConnectionPool
from sqlalchemy import create_engine, text

from benchmarks.measure import Bench, Case, Row, time_per_call
from benchmarks.report import Quantity, Target
from dbkit import DatabaseConnectionManager

EXECUTE = "execute_query"
BEGIN = "engine.begin() + text()"
RAW = "held cursor, autocommit"
ELASTIC_BEGIN = "the same on ElasticPool"
PSYCOPG_EXECUTE = "psycopg_pool, with connection(): execute"


@contextmanager
def _cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
    with ExitStack() as stack:
        manager = stack.enter_context(DatabaseConnectionManager(bench.dsn, warm=True))
        engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(bench.dsn))
        stack.callback(engine.dispose)
        psycopg_pool = stack.enter_context(
            ConnectionPool(bench.dsn, min_size=1, max_size=10, kwargs={"autocommit": True}, open=False)
        )
        psycopg_pool.wait()
        held = psycopg2.connect(bench.dsn)
        stack.callback(held.close)
        held.autocommit = True

        def execute_query(count: int) -> None:
            for _ in range(count):
                manager.execute_query("SELECT 1")

        def begin(count: int) -> None:
            for _ in range(count):
                with engine.begin() as connection:
                    connection.execute(text("SELECT 1")).all()

        def elastic_begin(count: int) -> None:
            for _ in range(count):
                with manager.engine.begin() as connection:
                    connection.execute(text("SELECT 1")).all()

        def psycopg_execute(count: int) -> None:
            for _ in range(count):
                with psycopg_pool.connection() as connection:
                    connection.execute("SELECT 1").fetchall()

        def raw(count: int) -> None:
            for _ in range(count):
                cursor = held.cursor()
                cursor.execute("SELECT 1")
                cursor.fetchall()
                cursor.close()

        yield {
            EXECUTE: time_per_call(execute_query, 0.002),
            BEGIN: time_per_call(begin, 0.002),
            ELASTIC_BEGIN: time_per_call(elastic_begin, 0.002),
            PSYCOPG_EXECUTE: time_per_call(psycopg_execute, 0.002),
            RAW: time_per_call(raw, 0.002),
        }


ROW = Row(
    name="query",
    title="SELECT 1, its rows in hand",
    notes=(
        "engine.begin() is on SQLAlchemy's own pool as it comes; psycopg_pool's are in autocommit mode, which\n"
        "is what one would write instead of execute_query; the held cursor borrows and checks nothing."
    ),
    quantities=(Quantity("time", "seconds"),),
    targets=(
        Target(quantity="time", of=BEGIN, to=EXECUTE, at_least=2.0),
        Target(quantity="time", of=EXECUTE, to=PSYCOPG_EXECUTE, at_most=1.2),
    ),
    rounds=(200, 30),
    cases=_cases,
)
