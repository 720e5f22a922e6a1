"""An answer that cannot be read, after the statement was committed: the error says so. Before: nothing is committed."""

from __future__ import annotations

import pickle

import pytest
from sqlalchemy import event, exc

from dbkit import DbkitError, ResultUnreadableError
from dbkit.session.query import execute_query

from .conftest import make_engine

LATE = "'20000-01-01'::date"  # Python's dates end with the year 9999


def count(engine, table: str) -> int:
    return execute_query(engine, f"SELECT count(*) FROM {table}").scalar()


@pytest.mark.parametrize(
    ("head", "params"),
    [
        ("INSERT INTO {table} VALUES (1, 'a')", None),
        ("INSERT INTO {table} VALUES (:id, 'a')", {"id": 1}),
        ("INSERT INTO {table} VALUES (%s, 'a')", (1,)),
    ],
    ids=["plain", "named", "positional"],
)
def test_an_answer_that_cannot_be_read_says_that_the_statement_is_committed(engine, table, head, params):
    query = f"{head.format(table=table)} RETURNING {LATE}"
    with pytest.raises(ResultUnreadableError, match=r"was executed and committed; .* could not be read") as caught:
        execute_query(engine, query, params)
    assert isinstance(caught.value, DbkitError)
    assert isinstance(caught.value, exc.DataError)
    assert caught.value.__cause__ is caught.value.orig
    assert "year" in str(caught.value.orig)
    assert caught.value.statement.startswith("INSERT INTO")
    assert count(engine, table) == 1
    assert engine.pool.stats().in_use == 0


def test_such_an_error_can_be_pickled_and_hides_parameters_where_the_engine_does(shared_database, driver):
    engine = make_engine(shared_database, driver, hide_parameters=True)
    with pytest.raises(ResultUnreadableError) as caught:
        execute_query(engine, f"SELECT {LATE} WHERE :secret <> ''", {"secret": "canary"})
    assert "canary" not in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    engine.pool.close()


def test_in_a_transaction_the_answer_is_read_before_the_commit(engine, table):
    with pytest.raises((ValueError, exc.DBAPIError)) as caught:
        execute_query(engine, f"INSERT INTO {table} VALUES (:id, '') RETURNING {LATE}", [{"id": 1}, {"id": 2}])
    assert not isinstance(caught.value, ResultUnreadableError)
    assert count(engine, table) == 0


@pytest.mark.parametrize("watched", [False, True], ids=["direct", "watched"])
def test_an_engine_with_an_isolation_level_commits_nothing_that_it_cannot_read(database, driver, watched):
    engine = make_engine(database, driver, isolation_level="SERIALIZABLE")
    if watched:
        event.listen(engine, "before_cursor_execute", lambda *args: None)
    execute_query(engine, "CREATE TABLE t (id int)")
    with pytest.raises((ValueError, exc.DBAPIError)) as caught:
        execute_query(engine, f"INSERT INTO t VALUES (1) RETURNING {LATE}")
    assert not isinstance(caught.value, ResultUnreadableError)
    assert count(engine, "t") == 0
    engine.pool.close()


def test_a_transaction_left_open_is_not_called_committed(engine, driver):
    if driver == "psycopg":
        pytest.skip("psycopg 3 gives the first statement's answer, BEGIN's")
    with pytest.raises((ValueError, exc.DBAPIError)) as caught:
        execute_query(engine, f"BEGIN; SELECT {LATE}")
    assert not isinstance(caught.value, ResultUnreadableError)


def test_an_autocommit_engine_says_committed_too(database, driver):
    engine = make_engine(database, driver, isolation_level="AUTOCOMMIT")
    with pytest.raises(ResultUnreadableError):
        execute_query(engine, f"CREATE TABLE t (id int); SELECT {LATE}" if driver == "psycopg2" else f"SELECT {LATE}")
    engine.pool.close()
