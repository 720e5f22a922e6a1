"""What ``execute_query`` promises, on the direct road and on SQLAlchemy's."""

from __future__ import annotations

import datetime
import decimal
import pickle
import uuid

import psycopg2.extensions
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, event, exc, func, insert, literal, select, text, update
from sqlalchemy.schema import CreateTable

from dbkit.drivers import for_dialect
from dbkit.session.query import execute_query

from .conftest import make_engine

MODEL = MetaData()


def model(name: str) -> Table:
    return Table(name, MetaData(), Column("id", Integer, primary_key=True), Column("name", Text))


def as_new(engine) -> bool:
    """Whether the pool's idle connection behaves as a new one, outside any transaction."""
    driver = for_dialect(engine.dialect)
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        return driver.is_clean(raw) and not raw.autocommit and not driver.transactions_are_special(raw)


def test_rows_are_sqlalchemy_rows(engine):
    rows = execute_query(engine, "SELECT 1 AS id, 'Ada' AS name UNION ALL SELECT 2, 'Grace' ORDER BY id")
    assert rows.columns == ("id", "name")
    assert [(row.id, row[1], row._mapping["name"]) for row in rows] == [(1, "Ada", "Ada"), (2, "Grace", "Grace")]
    assert rows.rowcount == 2
    with pytest.raises(AttributeError, match="nope"):
        rows[0].nope
    with pytest.raises(KeyError):
        rows[0]._mapping["nope"]


def test_a_name_that_stands_twice_means_what_it_means_in_sqlalchemy(engine):
    query = "SELECT 1 AS a, 2 AS a, 3 AS b"
    with engine.connect() as connection:
        expected = connection.execute(text(query)).one()
    row = execute_query(engine, query).one()
    assert tuple(row) == (1, 2, 3)
    assert (row.a, row._mapping["a"], row.b) == (expected.a, expected._mapping["a"], expected.b)


def test_values_are_typed_as_with_text(engine):
    query = (
        "SELECT 1.50::numeric, 'x'::bytea, now()::date, now(), ARRAY[1,2], '{\"a\": [1]}'::jsonb, "
        "'12345678-1234-5678-1234-567812345678'::uuid, NULL, interval '1 day', int4range(1, 5), true"
    )
    with engine.connect() as connection:
        expected = tuple(connection.execute(text(query)).one())
    got = tuple(execute_query(engine, query).one())
    assert [type(value) for value in got] == [type(value) for value in expected]
    assert isinstance(got[0], decimal.Decimal)
    assert isinstance(got[2], datetime.date)
    assert isinstance(got[6], uuid.UUID)


@pytest.mark.parametrize(
    ("query", "params", "value"),
    [
        ("SELECT CAST(:a AS text) || CAST(:b AS text) || CAST(:a AS text)", {"a": "x", "b": "y", "unused": 1}, "xyx"),
        ("SELECT %s::text || %s", ("x", "y"), "xy"),
        ("SELECT %s::text || %s", ["x", "y"], "xy"),
        ("SELECT 'abc' LIKE 'a%%' AND %s", (True,), True),
        ("SELECT '10:30'", None, "10:30"),
        ("SELECT '7'::int + 1", None, 8),
        ("SELECT CAST(:n AS int)::text || '%'", {"n": 7}, "7%"),
        ("SELECT 'abc' LIKE 'a%'", None, True),
        ("SELECT 'abc' LIKE 'a%%'", None, True),
        ("SELECT length('a%%')", None, 3),
        ("SELECT length('a%%')", {}, 3),
        ("SELECT 'abc' LIKE 'a%'", {}, True),
        ("SELECT length('a%%') + %s", (0,), 2),
        (r"SELECT 'at \:noon'", {}, "at :noon"),
        (r"SELECT 'at \:noon'", None, r"at \:noon"),
        ("SELECT '{\"a\":1}'::jsonb", None, {"a": 1}),
        ('SELECT \'{"a":1, "b": "100%"}\'::jsonb ->> \'b\'', None, "100%"),
        ("SELECT '%(name)s %s {}'", None, "%(name)s %s {}"),
        ("SELECT CAST(:ids AS int[]) = ARRAY[1, 2]", {"ids": [1, 2]}, True),
        ("SELECT 2 = ANY(%s)", [[1, 2, 3]], True),
        ("SELECT :evil", {"evil": "'; DROP TABLE users; --%s :x"}, "'; DROP TABLE users; --%s :x"),
    ],
)
def test_parameters(engine, query, params, value):
    assert execute_query(engine, query, params).scalar() == value


def test_a_tuple_is_a_list_of_values_with_psycopg2(shared_database):
    engine = make_engine(shared_database, "psycopg2")
    assert execute_query(engine, "SELECT 2 IN %s", ((1, 2),)).scalar() is True
    engine.pool.close()


def test_a_name_in_a_text_without_parameters_is_the_servers_to_refuse(engine):
    with pytest.raises(exc.ProgrammingError, match='syntax error at or near ":"') as caught:
        execute_query(engine, "SELECT 'ö', :active")
    assert any("If :active is a parameter" in note for note in caught.value.__notes__)
    with pytest.raises(exc.ProgrammingError, match='syntax error at or near "FORM"') as caught:
        execute_query(engine, "SELECT '{\"a\":1}'::jsonb x FORM y")
    assert not hasattr(caught.value, "__notes__") or not any(":1" in note for note in caught.value.__notes__)


def test_a_name_without_a_value_is_a_clear_error(engine):
    for params in ({}, {"other": 1}):
        with pytest.raises(exc.StatementError, match="bind parameter 'active'") as caught:
            execute_query(engine, "SELECT :active", params)
        assert any(r"\:active" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("params", ["abc", b"abc", 5, {1, 2}, (n for n in (1, 2))], ids=lambda p: type(p).__name__)
def test_parameters_of_no_known_shape_are_refused(engine, params):
    with pytest.raises(exc.ArgumentError, match=r"params must be .*, not " + type(params).__name__):
        execute_query(engine, "SELECT %s", params)


def test_queries_of_no_known_type_are_refused(engine):
    with pytest.raises(exc.ArgumentError, match=r"not bytes.*raw_connection"):
        execute_query(engine, b"SELECT 1")
    with pytest.raises(exc.ArgumentError, match="takes a mapping"):
        execute_query(engine, select(literal(1)), (1,))


def test_executables(engine, table):
    movies = model(table)
    assert execute_query(engine, insert(movies).values(id=1, name="Alien")).rowcount == 1
    made = execute_query(engine, insert(movies).returning(movies.c.id, movies.c.name), {"id": 2, "name": "Brazil"})
    assert made == [(2, "Brazil")]
    assert made.rowcount == 1
    assert execute_query(engine, update(movies).values(name=func.upper(movies.c.name))).rowcount == 2
    rows = execute_query(engine, select(movies).order_by(movies.c.id))
    assert rows.scalars("name") == ("ALIEN", "BRAZIL")
    assert rows[0]._mapping[movies.c.name] == "ALIEN"
    assert execute_query(engine, select(movies.c.id).where(movies.c.id == text(":n")), {"n": 2}).scalar_one() == 2
    assert execute_query(engine, CreateTable(model(table + "_2"))).columns == ()
    execute_query(engine, f"DROP TABLE {table}_2")
    streamed = select(func.generate_series(1, 5)).execution_options(stream_results=True, yield_per=2)
    assert execute_query(engine, streamed).scalars() == (1, 2, 3, 4, 5)


def test_changes_are_committed_and_counted(engine, table):
    assert execute_query(engine, f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b'), (3, 'c')").rowcount == 3
    changed = execute_query(engine, f"UPDATE {table} SET name = :n WHERE id > :i RETURNING id", {"n": "x", "i": 1})
    assert sorted(changed.scalars()) == [2, 3]
    deleted = execute_query(engine, f"DELETE FROM {table} WHERE id = %s", (1,))
    assert (deleted.rowcount, len(deleted), deleted.columns, bool(deleted)) == (1, 0, (), False)
    assert deleted.scalar() is None
    engine.pool.dispose()  # a connection of another session sees them
    assert execute_query(engine, f"SELECT id FROM {table} ORDER BY id").scalars() == (2, 3)


def test_many_rows_are_all_or_nothing(engine, table):
    statement = f"INSERT INTO {table} VALUES (:id, :name)"
    done = execute_query(engine, statement, [{"id": n, "name": str(n)} for n in range(1, 6)])
    assert done.rowcount == 5
    with pytest.raises(exc.IntegrityError):
        execute_query(engine, statement, [{"id": 6, "name": "6"}, {"id": 1, "name": "again"}])
    assert execute_query(engine, f"SELECT count(*) FROM {table}").scalar() == 5
    movies = model(table)
    many = [{"id": n, "name": str(n)} for n in range(10, 3010)]
    assert execute_query(engine, insert(movies), many).rowcount == 3000
    back = execute_query(
        engine, insert(movies).returning(movies.c.id), [{"id": 7, "name": "7"}, {"id": 8, "name": "8"}]
    )
    assert sorted(back.scalars()) == [7, 8]
    with pytest.raises(exc.IntegrityError):
        execute_query(engine, insert(movies), [{"id": 9, "name": "9"}, {"id": 9, "name": "9"}])
    assert execute_query(engine, f"SELECT count(*) FROM {table} WHERE id = 9").scalar() == 0
    assert as_new(engine)


@pytest.mark.parametrize(
    ("query", "params", "error"),
    [
        ("SELEC 1", None, exc.ProgrammingError),
        ("SELECT * FROM no_such_table", None, exc.ProgrammingError),
        ("SELECT 1/0", None, exc.DataError),
        ("SELECT :x / 0", {"x": 1}, exc.DataError),
        ("SELECT %s", (object(),), exc.ProgrammingError),
        ("SET lock_timeout = 'x'", None, exc.DBAPIError),
    ],
)
def test_refusals_are_sqlalchemys_own(engine, query, params, error):
    with pytest.raises(error) as caught:
        execute_query(engine, query, params)
    assert caught.value.orig is not None
    assert caught.value.__cause__ is caught.value.orig
    assert caught.value.statement.startswith(query[:4])
    assert not caught.value.connection_invalidated
    assert as_new(engine)


def test_constraint_violations_are_integrity_errors(engine, table):
    execute_query(engine, f"INSERT INTO {table} VALUES (1, 'a')")
    with pytest.raises(exc.IntegrityError) as caught:
        execute_query(engine, f"INSERT INTO {table} VALUES (:id, :name)", {"id": 1, "name": "b"})
    assert for_dialect(engine.dialect).sqlstate(caught.value.orig) == "23505"
    assert caught.value.params == {"id": 1, "name": "b"}
    assert as_new(engine)


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("SELECT 'ab' LIKE '%b' AND %s", (True,)),
        ("SELECT 'ab' LIKE '%x' AND %s", (True,)),
        ("SELECT '50% off', %s", (1,)),
        ("SELECT %s, '100%'", (1,)),
        ("SELECT %s, %s", (1,)),
        ("SELECT %s", (1, 2)),
        ("SELECT %(a)s", (1,)),
    ],
)
def test_a_percent_sign_that_is_not_doubled_is_a_clear_error(engine, query, values):
    with pytest.raises(exc.StatementError, match="write %% where a percent sign is meant") as caught:
        execute_query(engine, query, values)
    assert type(caught.value) is exc.StatementError
    assert (caught.value.statement, caught.value.params) == (query, values)
    assert caught.value.__cause__ is caught.value.orig
    assert as_new(engine)


def test_a_secret_beside_a_percent_sign_stays_hidden(shared_database, driver):
    engine = make_engine(shared_database, driver, hide_parameters=True)
    with pytest.raises(exc.StatementError, match="percent sign") as caught:
        execute_query(engine, "SELECT 'ab' LIKE '%b' AND %s = ''", ("canary",))
    assert "canary" not in str(caught.value) + repr(caught.value)
    engine.pool.close()


def test_values_that_cannot_be_read_are_the_drivers_own_error(engine):
    with pytest.raises((ValueError, exc.DataError), match="year"):
        execute_query(engine, "SELECT '20000-01-01'::date")
    assert as_new(engine)


@pytest.mark.parametrize("query", ["BEGIN", "BEGIN; CREATE TEMP TABLE leaked (x int)", "START TRANSACTION READ ONLY"])
def test_a_transaction_left_open_is_refused_and_never_leaks(engine, query):
    with pytest.raises(exc.InvalidRequestError, match="left a transaction open"):
        execute_query(engine, query)
    assert as_new(engine)
    assert execute_query(engine, "SELECT to_regclass('pg_temp.leaked')").scalar() is None


def test_an_error_within_a_transaction_in_the_text_does_not_leak(engine):
    with pytest.raises(exc.DataError):
        execute_query(engine, "BEGIN; SELECT 1/0; COMMIT")
    assert as_new(engine)
    assert execute_query(engine, "SELECT 1").scalar() == 1


def test_several_statements_in_one_text_give_the_result_that_the_driver_gives(engine, table, driver):
    query = f"SELECT 'first'; BEGIN; INSERT INTO {table} VALUES (1, 'a'); COMMIT; SELECT name FROM {table}"
    assert execute_query(engine, query).scalar() == {"psycopg2": "a", "psycopg": "first"}[driver]
    with pytest.raises(exc.DataError):  # the server takes a text without BEGIN as one transaction
        execute_query(engine, f"INSERT INTO {table} VALUES (2, 'b'); SELECT 1/0")
    assert execute_query(engine, f"SELECT count(*) FROM {table}").scalar() == 1


def test_statements_that_may_not_stand_in_a_transaction_work(engine, table):
    assert execute_query(engine, f"VACUUM {table}").rowcount == -1
    execute_query(engine, f"CREATE INDEX CONCURRENTLY ix_{table} ON {table} (name)")


def test_a_lost_connection_is_invalidated_and_replaced(engine):
    first = execute_query(engine, "SELECT pg_backend_pid()").scalar()
    with pytest.raises(exc.OperationalError) as caught:
        execute_query(engine, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert caught.value.connection_invalidated
    assert engine.pool.stats().in_use == 0
    second = execute_query(engine, "SELECT pg_backend_pid()").scalar()
    assert second != first
    assert as_new(engine)


def test_a_keyboard_interrupt_costs_the_connection_and_no_more(engine, monkeypatch):
    first = execute_query(engine, "SELECT pg_backend_pid()").scalar()

    def lend(raw, record, fairy):  # psycopg2's classes are C: interrupt in what they call
        raw.cursor_factory = _interrupted(raw.cursor_factory or psycopg2.extensions.cursor)

    event.listen(engine.pool, "checkout", lend)
    with pytest.raises(KeyboardInterrupt):
        execute_query(engine, "SELECT 1")
    event.remove(engine.pool, "checkout", lend)
    assert engine.pool.stats().in_use == 0
    assert execute_query(engine, "SELECT pg_backend_pid()").scalar() != first


def _interrupted(kind):
    class Cursor(kind):
        def execute(self, *args, **more):
            super().execute("BEGIN; SELECT 1")
            raise KeyboardInterrupt

    return Cursor


def test_results_outlive_their_connection(engine):
    rows = execute_query(engine, "SELECT generate_series(1, 3) AS n")
    engine.pool.dispose()
    assert rows.scalars() == (1, 2, 3)
    again = pickle.loads(pickle.dumps(rows))
    assert again == rows
    assert again[0].n == 1
    assert (again.columns, again.rowcount) == (("n",), 3)


def test_notices_reach_sqlalchemys_logger(engine, caplog):
    with caplog.at_level("INFO", "sqlalchemy.dialects.postgresql"):
        execute_query(engine, "DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
    assert any("hello" in record.getMessage() for record in caplog.records)
    with engine.connect() as connection:
        assert for_dialect(engine.dialect).take_notices(connection.connection.dbapi_connection) == []


def test_no_columns(engine):
    rows = execute_query(engine, "SELECT FROM generate_series(1, 2)")
    assert (rows.columns, rows.rowcount, len(rows)) == ((), 2, 2)
