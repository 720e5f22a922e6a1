"""A list of mappings: all or nothing, all rows in order, nothing for an empty list, and a count that is right or -1."""

from __future__ import annotations

import pytest
import sqlalchemy
from sqlalchemy import Column, Integer, MetaData, Table, Text, delete, event, exc, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from dbkit.session.query import execute_query

from .conftest import make_engine


def model(name: str) -> Table:
    return Table(name, MetaData(), Column("id", Integer, primary_key=True), Column("name", Text))


def mappings(count: int) -> list[dict[str, object]]:
    return [{"id": n, "name": str(n)} for n in range(count, 0, -1)]


@pytest.mark.parametrize("count", [1, 2, 250])
def test_a_text_gives_the_rows_of_all_executions_in_order(engine, table, count):
    given = mappings(count)
    made = execute_query(engine, f"INSERT INTO {table} VALUES (:id, :name) RETURNING id, name", given)
    assert made.columns == ("id", "name")
    assert made == [(item["id"], item["name"]) for item in given]
    assert made.rowcount == count


def test_executables_give_the_rows_of_all_executions_in_order(engine, table):
    movies, given = model(table), mappings(1500)
    made = execute_query(engine, insert(movies).returning(movies.c.id), given)
    assert made.scalars() == tuple(item["id"] for item in given)
    change = update(movies).where(movies.c.id == text(":key")).values(name="x").returning(movies.c.id)
    assert execute_query(engine, change, [{"key": 3}, {"key": 9999}, {"key": 1}]).scalars() == (3, 1)
    gone = delete(movies).where(movies.c.id == text(":key")).returning(movies.c.id)
    assert execute_query(engine, gone, [{"key": 3}, {"key": 1}]).scalars() == (3, 1)
    found = execute_query(engine, select(movies.c.id).where(movies.c.id == text(":key")), [{"key": 7}, {"key": 5}])
    assert found.scalars() == (7, 5)


def test_the_server_is_asked_to_keep_the_order_where_it_makes_the_keys(engine, table):
    keyed = Table(f"{table}_keyed", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text))
    keyed.create(engine)
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    rows = execute_query(engine, insert(keyed).returning(keyed.c.id, keyed.c.name), [{"name": n} for n in "cab"])
    assert rows == [(1, "c"), (2, "a"), (3, "b")]
    assert "ORDER BY" in sent[0]
    keyed.drop(engine)


def test_an_upsert_gives_the_rows_that_it_touched(engine, table):
    movies = model(table)
    execute_query(engine, insert(movies), mappings(3))
    skip = upsert(movies).on_conflict_do_nothing().returning(movies.c.id)
    assert execute_query(engine, skip, mappings(5)).scalars() == (5, 4)
    base = upsert(movies)
    change = base.on_conflict_do_update(index_elements=["id"], set_={"name": base.excluded.name}).returning(movies.c.id)
    assert execute_query(engine, change, mappings(6)).scalars() == (6, 5, 4, 3, 2, 1)


def test_an_error_half_way_leaves_nothing(engine, table):
    statement = f"INSERT INTO {table} VALUES (:id, :name) RETURNING id"
    with pytest.raises(exc.IntegrityError):
        execute_query(engine, statement, [*mappings(3), {"id": 1, "name": "again"}])
    assert execute_query(engine, f"SELECT count(*) FROM {table}").scalar() == 0


def test_an_empty_list_executes_nothing(engine, table):
    for statement in (
        f"INSERT INTO {table} VALUES (coalesce(CAST(:id AS int), 1))",
        text(f"INSERT INTO {table} VALUES (coalesce(CAST(:id AS int), 1))"),
        insert(model(table)),
        update(model(table)).values(name="x"),
    ):
        done = execute_query(engine, statement, [])
        assert (done, done.rowcount, done.columns) == ([], 0, ())
    for statement in (f"INSERT INTO {table} VALUES (1)", select(1), text(f"INSERT INTO {table} VALUES (1)")):
        with pytest.raises(exc.ArgumentError, match="empty list"):
            execute_query(engine, statement, [])
    with pytest.raises(exc.StatementError, match="values given: 0"):
        execute_query(engine, f"INSERT INTO {table} VALUES (%s)", [])
    assert execute_query(engine, f"SELECT count(*) FROM {table}").scalar() == 0
    assert execute_query(engine, "SELECT 1", ()).scalar() == 1


@pytest.mark.parametrize("mode", ["values_only", "values_plus_batch"])
def test_the_count_of_changed_rows_is_right_or_unknown(database, mode):
    engine = make_engine(database, "psycopg2", executemany_mode=mode)
    execute_query(engine, "CREATE TABLE t (id int PRIMARY KEY, name text)")
    right = {"values_only": 250, "values_plus_batch": -1}[mode]
    assert execute_query(engine, "INSERT INTO t VALUES (:id, :name)", mappings(250)).rowcount in (250, right)
    change = "UPDATE t SET name = 'x' WHERE id = :id AND id <= 250"
    assert execute_query(engine, change, [*mappings(250), {"id": 999}]).rowcount == right
    movies = model("t")
    changed = update(movies).where(movies.c.id == text(":key")).values(name="y")
    assert execute_query(engine, changed, [{"key": n} for n in range(1, 300)]).rowcount == right
    more = [{"id": n, "name": ""} for n in range(1000, 4000)]
    told = mode == "values_only" or not sqlalchemy.__version__.startswith("2.0.")
    assert execute_query(engine, insert(movies), more).rowcount == (3000 if told else -1)
    engine.pool.close()


def test_an_autocommit_engine_does_all_or_nothing_too(database, driver):
    engine = make_engine(database, driver, isolation_level="AUTOCOMMIT")
    execute_query(engine, "CREATE TABLE t (id int PRIMARY KEY, name text)")
    with pytest.raises(exc.IntegrityError):
        execute_query(engine, "INSERT INTO t VALUES (:id, :name)", [*mappings(3), {"id": 1, "name": "again"}])
    assert execute_query(engine, "SELECT count(*) FROM t").scalar() == 0
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection.autocommit
    engine.pool.close()


@pytest.mark.parametrize("options", [{"stream_results": True}, {"yield_per": 2}, {"max_row_buffer": 2}])
def test_streaming_options_of_the_engine_do_not_reach_a_query(shared_database, driver, options):
    engine = make_engine(shared_database, driver, execution_options=options)
    series = "SELECT generate_series(1, 5)"
    for query, params in [
        (series, None),
        (f"{series} WHERE :x = 1", {"x": 1}),
        (f"{series} WHERE %s = 1", (1,)),
        (text(series), None),
        (f"{series} WHERE 1 = :x", [{"x": 1}]),
    ]:
        assert execute_query(engine, query, params).scalars() == (1, 2, 3, 4, 5)
    assert execute_query(engine, "SET application_name = 'x'").columns == ()
    engine.pool.close()
