"""Many rows over COPY: any iterable, every value as it was, all or nothing; and upserts on the same road."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import math
import uuid
from decimal import Decimal

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, exc

from dbkit.session.copying import EVERY, copy_rows, upsert_rows
from dbkit.session.query import execute_query

from .conftest import DRIVERS, make_engine


@pytest.fixture(scope="module")
def place(server):
    """A database of this file's own."""
    url = server.create_database("copying")
    yield url
    server.drop_database("copying")


@pytest.fixture(params=DRIVERS, scope="module")
def shared_engine(request, place):
    """An engine of each driver."""
    made = make_engine(place, request.param)
    yield made
    assert made.pool.close() == ()


@pytest.fixture
def driver(shared_engine) -> str:
    return shared_engine.dialect.driver


@pytest.fixture
def engine(shared_engine):
    """The engine, on a database with one empty table."""
    execute_query(shared_engine, 'DROP TABLE IF EXISTS films, held; DROP SCHEMA IF EXISTS "My Shop" CASCADE')
    execute_query(shared_engine, "DROP DOMAIN IF EXISTS settings")
    execute_query(shared_engine, "CREATE TABLE films (id integer PRIMARY KEY, name text DEFAULT 'unnamed')")
    yield shared_engine
    assert shared_engine.pool.stats().in_use == 0


def films(engine) -> list[tuple[int, str | None]]:
    return [tuple(row) for row in execute_query(engine, "SELECT id, name FROM films ORDER BY id")]


def test_rows_of_any_shape_and_source(engine):
    assert copy_rows(engine, "films", ((n, str(n)) for n in range(3))) == 3
    assert copy_rows(engine, "films", [[3, "three"]], columns=["id", "name"]) == 1
    assert copy_rows(engine, "public.films", [{"name": "four", "id": 4}, {"id": 5, "name": None}]) == 2
    assert copy_rows(engine, ("public", "films"), [{"id": 6, "more": 1}], columns=["id"]) == 1
    assert copy_rows(engine, "films", execute_query(engine, "SELECT 7 AS id, 'seven' AS name")) == 1
    table = Table("films", MetaData(), Column("id", Integer), Column("name", Text), schema="public")
    assert copy_rows(engine, table, [(8, "eight")]) == 1
    assert films(engine) == [
        (0, "0"), (1, "1"), (2, "2"), (3, "three"), (4, "four"), (5, None), (6, "unnamed"), (7, "seven"), (8, "eight"),
    ]  # fmt: skip


def test_no_rows_borrow_nothing(engine):
    before = engine.pool.stats().borrows
    assert copy_rows(engine, "no_such_table", []) == 0
    assert upsert_rows(engine, "no_such_table", iter(()), key="id") == 0
    assert engine.pool.stats().borrows == before


VALUES = {
    "text": ["a\tb\nc\r\\d\\N\\.", "", "ö€😀", "NULL", "x" * 200_000, None],
    "bytea": [b"\x00\\\n\xff", b"", None],
    "boolean": [True, False, None],
    "bigint": [2**62, -1],
    "float8": [1.5, 1e300, math.inf],
    "numeric": [Decimal("1.50"), Decimal("123456789012345678901234567890.1")],
    "date": [datetime.date(2024, 2, 29), datetime.date(1, 1, 1)],
    "timestamptz": [datetime.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=datetime.UTC)],
    "time": [datetime.time(1, 2, 3)],
    "interval": [datetime.timedelta(days=-1, seconds=5, microseconds=7)],
    "uuid": [uuid.UUID(int=7)],
    "inet": [ipaddress.ip_address("10.0.0.1")],
    "int[]": [[1, None, 3], [], None, [[1, 2], [3, 4]]],
    "text[]": [['a"b', "c\\d", "NULL", "", "e,f", "\t{}", None]],
    "jsonb": [{"a": [1, None, '\n"\\']}, [1, 2], 7, True, None],
    "json": [{"a": "ö"}],
    "jsonb[]": [[{"a": 1}, {"b": [2]}]],
}


@pytest.mark.parametrize("kind", VALUES)
def test_every_value_arrives_as_it_was(engine, kind):
    execute_query(engine, f"CREATE TABLE held (id int, value {kind})")
    values = VALUES[kind]
    assert copy_rows(engine, "held", enumerate(values)) == len(values)
    back = execute_query(engine, "SELECT value FROM held ORDER BY id").scalars()
    read = {"inet": str, "bytea": lambda value: None if value is None else bytes(value)}.get(kind, lambda value: value)
    assert [read(value) for value in back] == [read(value) for value in values]


def test_text_for_a_json_column_is_json_already(engine):
    execute_query(engine, "CREATE DOMAIN settings AS jsonb; CREATE TABLE held (id int, value settings)")
    copy_rows(engine, "held", [(1, '{"a": 1}'), (2, {"b": 2}), (3, '"text"')])
    assert execute_query(engine, "SELECT value FROM held ORDER BY id").scalars() == ({"a": 1}, {"b": 2}, "text")


def test_the_drivers_own_wrappers_are_understood(engine, driver):
    execute_query(engine, "CREATE TABLE held (id int, value jsonb, span int4range)")
    if driver == "psycopg2":
        from psycopg2.extras import Json, NumericRange

        row = (1, Json({"a": 1}), NumericRange(1, 5))
    else:
        from psycopg.types.json import Jsonb
        from psycopg.types.range import Range

        row = (1, Jsonb({"a": 1}), Range(1, 5))
    copy_rows(engine, "held", [row])
    assert tuple(execute_query(engine, "SELECT value, span::text FROM held").one()) == ({"a": 1}, "[1,5)")


def test_odd_names_are_quoted(engine):
    execute_query(
        engine, 'CREATE SCHEMA "My Shop"; CREATE TABLE "My Shop"."odd.""name%s" ("Id %" int PRIMARY KEY, "select" text)'
    )
    table = ("My Shop", 'odd."name%s')
    assert copy_rows(engine, table, [{"Id %": 1, "select": "a"}]) == 1
    assert upsert_rows(engine, table, [{"Id %": 1, "select": "b"}, {"Id %": 2, "select": "c"}], key="Id %") == 2
    rows = execute_query(engine, 'SELECT * FROM "My Shop"."odd.""name%s" ORDER BY 1')
    assert rows == [(1, "b"), (2, "c")]


def test_generated_columns_are_left_to_the_server(engine):
    execute_query(engine, "CREATE TABLE held (a int, twice int GENERATED ALWAYS AS (a * 2) STORED, gone int, b int)")
    execute_query(engine, "ALTER TABLE held DROP COLUMN gone")
    copy_rows(engine, "held", [(1, 5)])
    assert execute_query(engine, "SELECT a, twice, b FROM held").one() == (1, 2, 5)


def broken_rows():
    yield from ((n, "") for n in range(20_000))
    raise ZeroDivisionError("half-way")


def interrupted_rows():
    yield (1, "")
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (broken_rows, ZeroDivisionError),
        (interrupted_rows, KeyboardInterrupt),
        (lambda: [(1, "a"), (1, "again")], exc.IntegrityError),
        (lambda: [(1, "a"), ("one", "b")], exc.DataError),
        (lambda: [(1, "a"), (2,)], ValueError),
        (lambda: [(1, "a"), {"id": 2}], ValueError),
        (lambda: [(1, "a"), (2, object())], (TypeError, exc.ProgrammingError)),
        (lambda: [(1, "a"), (2, {"a": 1})], (TypeError, exc.ProgrammingError)),
    ],
    ids=["generator", "interrupt", "constraint", "value", "width", "mapping", "unknown", "dict"],
)
@pytest.mark.parametrize("verb", ["copy", "upsert"])
def test_an_error_anywhere_leaves_nothing(engine, verb, rows, error):
    if verb == "upsert" and error is exc.IntegrityError:
        pytest.skip("the last one counts")
    with pytest.raises(error):
        copy_rows(engine, "films", rows()) if verb == "copy" else upsert_rows(engine, "films", rows(), key="id")
    assert films(engine) == []
    assert copy_rows(engine, "films", [(1, "a")]) == 1


def test_the_server_names_what_it_does_not_know(engine):
    with pytest.raises(exc.ProgrammingError, match="no_such_table"):
        copy_rows(engine, "no_such_table", [(1,)])
    with pytest.raises(exc.ProgrammingError, match="no_such_column") as caught:
        copy_rows(engine, "films", [{"no_such_column": 1}])
    assert caught.value.statement.startswith("COPY")


def test_arguments_are_refused_before_anything_is_borrowed(engine):
    before = engine.pool.stats().borrows
    for table in ("", "a..b", "a.b.c", (), 7, ("a", 7), b"films"):
        with pytest.raises(exc.ArgumentError, match="table must be"):
            copy_rows(engine, table, [(1,)])
    for more in ({"columns": "id"}, {"columns": []}, {"columns": ["id", "id"]}, {"columns": [1]}, {"progress": 7}):
        with pytest.raises(exc.ArgumentError, match=r"column|progress"):
            copy_rows(engine, "films", [(1,)], **more)
    for rows in ("rows", {"id": 1}, 7, None):
        with pytest.raises(exc.ArgumentError, match="rows must be"):
            copy_rows(engine, "films", rows)
    for key in ((), (1,)):
        with pytest.raises(exc.ArgumentError, match="key must be"):
            upsert_rows(engine, "films", [(1, "a")], key=key)
    assert engine.pool.stats().borrows == before


def test_progress_is_told_and_may_stop_it(engine):
    told: list[int] = []
    copy_rows(engine, "films", ((n, "") for n in range(EVERY + 5)), progress=told.append)
    assert told == [EVERY, EVERY + 5]

    def stop(_: int) -> None:
        raise InterruptedError("stop")

    with pytest.raises(InterruptedError):
        copy_rows(engine, "films", [(-1, "")], progress=stop)
    assert execute_query(engine, "SELECT count(*) FROM films WHERE id < 0").scalar() == 0


def test_an_upsert_adds_and_changes(engine):
    copy_rows(engine, "films", [(1, "one"), (2, "two")])
    told: list[int] = []
    done = upsert_rows(engine, "films", [(2, "TWO"), (3, "three"), (3, "THREE")], key="id", progress=told.append)
    assert (done, told) == (2, [3])
    assert films(engine) == [(1, "one"), (2, "TWO"), (3, "THREE")]
    assert upsert_rows(engine, "films", [{"id": 3}, {"id": 4}], key=["id"]) == 1
    assert films(engine)[2:] == [(3, "THREE"), (4, "unnamed")]


def test_the_last_of_equal_keys_counts_however_many_rows(engine):
    rows = itertools.chain.from_iterable([(n, str(turn)) for n in range(5000)] for turn in range(3))
    assert upsert_rows(engine, "films", rows, key="id") == 5000
    assert set(execute_query(engine, "SELECT name FROM films").scalars()) == {"2"}


def test_an_upsert_needs_a_key_that_can_be_one(engine):
    with pytest.raises(exc.ProgrammingError, match="unique"):
        upsert_rows(engine, "films", [(1, "a")], key="name")
    with pytest.raises(exc.ArgumentError, match="'id' is not among the columns: name"):
        upsert_rows(engine, "films", [{"name": "a"}], key="id")
    with pytest.raises(ValueError, match="row 2: the key 'id' is None"):
        upsert_rows(engine, "films", [(1, "a"), (None, "b")], key="id")
    assert films(engine) == []


def test_an_autocommit_or_streaming_engine_does_all_or_nothing_too(engine, place, driver):
    engine = make_engine(  # on the same database
        place, driver, isolation_level="AUTOCOMMIT", execution_options={"stream_results": True, "yield_per": 3}
    )
    assert upsert_rows(engine, "films", [(1, "a")], key="id") == 1
    assert copy_rows(engine, "films", [(2, "b")]) == 1
    with pytest.raises(exc.IntegrityError):
        copy_rows(engine, "films", [(3, "c"), (1, "again")])
    assert films(engine) == [(1, "a"), (2, "b")]
    engine.pool.close()


def test_other_encodings_of_the_client(engine, place, driver):
    engine = make_engine(f"{place}{'&' if '?' in place else '?'}client_encoding=latin1", driver)
    copy_rows(engine, "films", [(1, "ö")])
    assert execute_query(engine, "SELECT length(name), name FROM films").one() == (1, "ö")
    engine.pool.close()
