"""Rows a chunk at a time: constant memory, and the connection is given back however the reading ends."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from sqlalchemy import exc, func, literal, select

from dbkit.session.query import execute_query
from dbkit.session.stream import stream_query

from .conftest import make_engine


def idle(engine) -> bool:
    return engine.pool.stats().in_use == 0


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("SELECT n, '5%' AS five FROM generate_series(1, 10) n", None),
        ("SELECT n, '5%' AS five FROM generate_series(1, CAST(:last AS int)) n", {"last": 10}),
        ("SELECT n, '5%%' AS five FROM generate_series(1, %s) n", (10,)),
        (select(func.generate_series(1, 10).label("n"), literal("5%").label("five")), None),
    ],
    ids=["plain", "named", "positional", "executable"],
)
def test_all_rows_come_in_order(engine, query, params):
    rows = list(stream_query(engine, query, params, chunk=3))
    assert rows == [(n, "5%") for n in range(1, 11)]
    assert rows[0].five == "5%"
    assert idle(engine)


def test_nothing_is_borrowed_before_the_first_row_and_nothing_after_the_last(engine):
    stream = stream_query(engine, "SELECT generate_series(1, 3)", chunk=2)
    assert idle(engine)
    assert next(stream) == (1,)
    assert not idle(engine)
    assert list(stream) == [(2,), (3,)]
    assert idle(engine)
    assert list(stream) == []


def test_a_consumer_that_stops_half_way_gives_the_connection_back(engine):
    with stream_query(engine, "SELECT generate_series(1, 100000)") as stream:
        assert next(stream) == (1,)
    assert idle(engine)
    stream = stream_query(engine, "SELECT generate_series(1, 100000)")
    next(stream)
    stream.close()
    stream.close()
    assert idle(engine)
    assert list(stream) == []


def test_a_stream_that_is_dropped_gives_the_connection_back(engine):
    def first():
        for row in stream_query(engine, "SELECT generate_series(1, 100000)"):
            return row
        return None

    assert first() == (1,)
    gc.collect()
    assert idle(engine)
    assert execute_query(engine, "SELECT 1").scalar() == 1


def test_an_error_while_reading_gives_the_connection_back(engine):
    stream = stream_query(engine, "SELECT 10 / (3 - n) FROM generate_series(1, 10) n", chunk=1)
    with pytest.raises(exc.DataError):
        list(stream)
    assert idle(engine)
    with pytest.raises(exc.ProgrammingError, match="no_such_table"):
        next(stream_query(engine, "SELECT * FROM no_such_table"))
    assert idle(engine)


def test_a_function_that_writes_is_committed_after_the_last_row(engine, table):
    execute_query(engine, f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b')")
    writes = f"""CREATE FUNCTION pg_temp.gone(key int) RETURNS int LANGUAGE sql
        AS $$ DELETE FROM {table} WHERE id = key RETURNING id $$"""
    with engine.begin() as connection:
        connection.exec_driver_sql(writes)
    assert list(stream_query(engine, "SELECT pg_temp.gone(1)")) == [(1,)]
    with stream_query(engine, "SELECT pg_temp.gone(2)") as stream:
        next(stream)
    assert execute_query(engine, f"SELECT id FROM {table}").scalars() == (2,)


def test_what_cannot_be_streamed_says_so(engine, table):
    with pytest.raises(exc.ProgrammingError) as caught:
        next(stream_query(engine, f"INSERT INTO {table} VALUES (1, 'a') RETURNING id"))
    assert any("SELECT, VALUES and WITH" in note for note in caught.value.__notes__)
    for query, params in [(b"SELECT 1", None), ("SELECT 1", "abc"), ("SELECT :a", [{"a": 1}]), (select(1), (1,))]:
        with pytest.raises(exc.ArgumentError):
            stream_query(engine, query, params)
    for chunk in (0, -1, 1.5, True):
        with pytest.raises(exc.ArgumentError, match="chunk"):
            stream_query(engine, "SELECT 1", chunk=chunk)


def test_an_autocommit_engine_streams_too_and_stays_one(shared_database, driver):
    engine = make_engine(shared_database, driver, isolation_level="AUTOCOMMIT")
    assert len(list(stream_query(engine, "SELECT generate_series(1, 10)", chunk=3))) == 10
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection.autocommit
    engine.pool.close()


def test_memory_does_not_grow_with_the_result(shared_database, driver):
    engine = make_engine(shared_database, driver)
    query = "SELECT n, repeat('x', 50) FROM generate_series(1, :last) n"
    next(stream_query(engine, query, {"last": 1}))
    tracemalloc.start()
    try:
        rows = sum(1 for _ in stream_query(engine, query, {"last": 30_000}, chunk=200))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 30_000
    assert peak < 1_500_000  # bytes; all rows together are over 6 million
    engine.pool.close()
