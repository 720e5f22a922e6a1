"""One deadline for waiting, connecting and statements, and an error that says where the time went."""

from __future__ import annotations

import pickle
import threading
from contextvars import copy_context

import psycopg2
import pytest
from sqlalchemy import exc, text

from dbkit import DbkitError, DeadlineExceeded, SettingsError
from dbkit.drivers.base import Driver
from dbkit.drivers.bounded import bounded, given_up
from dbkit.session.deadlines import by_deadline
from dbkit.session.one_transaction import one_transaction

TRIES = (0.25, 1.0, 4.0, 16.0)
"""Seconds of a deadline: a quick machine needs the first, one that stalls a longer one, to have a statement begin."""


def sleeps_until_stopped(db, sleep) -> DeadlineExceeded:
    """Call ``sleep``, which sends a long statement, within deadlines; return the error of one that stopped it."""
    for seconds in TRIES:
        with db.deadline(seconds):
            with pytest.raises(DeadlineExceeded) as caught:
                sleep()
        if caught.value.spent.statements > 0:
            assert caught.value.seconds == seconds
            return caught.value
    pytest.fail("no statement was sent in time")


def test_a_statement_in_a_session_is_stopped(db):
    def sleep():
        with db.session_scope() as session:
            session.execute(text("SELECT pg_sleep(30)"))

    db.execute_query("SELECT 1")
    error = sleeps_until_stopped(db, sleep)
    assert "in statements" in str(error)
    assert isinstance(error, DbkitError)
    assert isinstance(error, exc.TimeoutError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert db.stats().in_use == 0
    assert db.execute_query("SHOW statement_timeout").scalar() == "0"


@pytest.mark.parametrize("params", [None, {}, ()], ids=["none", "named", "positional"])
def test_a_query_is_stopped_inside_the_block(db, params):
    db.execute_query("SELECT 1")
    sleeps_until_stopped(db, lambda: db.execute_query("SELECT pg_sleep(30)", params))
    assert db.execute_query("SHOW statement_timeout").scalar() == "0"


def test_nothing_is_sent_once_it_is_past(db):
    db.execute_query("SELECT 1")
    with db.session_scope() as session, db.deadline(0):
        with pytest.raises(DeadlineExceeded, match="before a statement was sent"):
            session.execute(text("SELECT 1"))
        session.rollback()
        with pytest.raises(DeadlineExceeded, match="before a statement was sent"):
            db.execute_query("SELECT 1")


def test_a_transaction_that_is_under_way_is_bounded_while_it_lasts(db):
    show = text("SHOW statement_timeout")
    with db.session_scope() as session, db.session_scope(nested=True):
        assert session.scalar(show) == "0"
        with db.deadline(1000):
            assert session.scalar(show) != "0"
        assert session.scalar(show) == "0"
        with db.deadline(0), pytest.raises(DeadlineExceeded):
            session.execute(text("SELECT 1"))
    with db.session_scope(timeout=60) as session:
        with db.deadline(1000):
            assert session.scalar(show) == "1min"
        with db.deadline(30):
            assert session.scalar(show) != "1min"
        assert session.scalar(show) == "1min"


def test_later_statements_get_what_is_left(db):
    left = text("SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'")
    with db.deadline(100), db.session_scope() as session:
        at_first = session.scalar(left)
        assert 0 < at_first <= 100_000
        session.execute(text("SELECT pg_sleep(0.1)"))
        assert session.scalar(left) == at_first  # it need not be told each time
    fewer = 0
    for seconds in TRIES:
        with pytest.raises(DeadlineExceeded), db.deadline(seconds), db.session_scope() as session:
            at_first = session.scalar(left)
            session.execute(text("SELECT pg_sleep(:pause)"), {"pause": seconds / 4})
            fewer = at_first - session.scalar(left)
            session.execute(text("SELECT pg_sleep(30)"))
        if fewer:
            break
    assert fewer >= seconds * 1000 / 4


def test_waiting_for_the_pool_counts(db):
    with db.engine.connect(), db.deadline(0.3):
        with pytest.raises(DeadlineExceeded, match="waiting for a connection") as caught:
            db.execute_query("SELECT 1")
    assert caught.value.spent.waiting > 0.2


def test_connecting_counts(managers, driver):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and says nothing
        db = managers(driver, url=f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/d", engine_options={})
        with pytest.raises(DeadlineExceeded, match="connecting") as caught, db.deadline(0.5):
            db.execute_query("SELECT 1")
        assert caught.value.spent.connecting > 0.2
        db.close_connections(timeout=0)


def test_the_earlier_deadline_holds(db):
    with db.deadline(60) as outer:
        with db.deadline(100) as inner:
            assert inner is outer
        with db.deadline(1) as inner:
            assert inner is not outer
        with db.deadline(60) as again, db.session_scope() as session:
            assert again is outer
            assert session.scalar(text("SELECT current_setting('statement_timeout') <> '0'"))
    assert db.execute_query("SHOW statement_timeout").scalar() == "0"


def test_a_thread_that_runs_in_the_context_has_the_deadline(db):
    found = []

    def work():
        try:
            found.append(db.execute_query("SHOW statement_timeout").scalar())
        except DeadlineExceeded as error:
            found.append(error)

    with db.deadline(0):
        for target in (copy_context().run, lambda run: run()):
            thread = threading.Thread(target=target, args=(work,))
            thread.start()
            thread.join()
    assert isinstance(found[0], DeadlineExceeded)
    assert found[1] == "0"


def test_other_errors_stay_what_they_are(db):
    with pytest.raises(exc.DBAPIError, match="division"), db.deadline(60):
        db.execute_query("SELECT 1/0")
    with pytest.raises(ValueError), db.deadline(0):
        raise ValueError
    with pytest.raises(SettingsError), db.deadline(-1):
        pytest.fail("the block ran")


# ---- limits of a single query


@pytest.mark.parametrize(
    "params", [None, {"x": 1}, (1,), [{"x": 1}, {"x": 2}]], ids=["none", "named", "numbered", "many"]
)
def test_a_query_may_have_a_timeout(db, params):
    sql = {None: "SELECT pg_sleep(100)", tuple: "SELECT pg_sleep(100 * %s)"}.get(
        type(params) if params is not None else None, "SELECT pg_sleep(100 * :x)"
    )
    with pytest.raises(exc.OperationalError, match="statement timeout"):
        db.execute_query(sql, params, timeout=0.2)
    assert db.execute_query("SHOW statement_timeout").scalar() == "0"
    assert db.stats().opens == 1


def test_a_query_may_be_read_only(db, table):
    with pytest.raises(exc.DBAPIError, match="read-only"):
        db.execute_query(f"INSERT INTO {table} VALUES (1, 'x')", read_only=True)
    with pytest.raises(exc.DBAPIError, match="read-only"):
        db.execute_query(f"INSERT INTO {table} VALUES (:x, 'x')", [{"x": 1}], read_only=True)
    db.execute_query(f"INSERT INTO {table} VALUES (1, 'x')", timeout=60)
    assert db.execute_query(f"SELECT count(*) FROM {table}", read_only=True, timeout=60).scalar() == 1


def test_an_engine_in_autocommit_honours_them_too(managers, driver):
    db = managers(driver, engine_options={"isolation_level": "AUTOCOMMIT"})
    with pytest.raises(exc.OperationalError, match="statement timeout"):
        db.execute_query("SELECT pg_sleep(100)", timeout=0.2)
    with pytest.raises(exc.OperationalError, match="statement timeout"):
        db.execute_query(text("SELECT pg_sleep(100)"), timeout=0.2)
    with db.engine.connect() as connection:
        assert connection.connection.dbapi_connection.autocommit


def test_bad_limits_are_refused_before_anything_happens(db):
    for bad in (0, -1, "1"):
        with pytest.raises(exc.ArgumentError):
            db.execute_query("SELECT 1", timeout=bad)
    assert db.stats().opens == 0


def test_the_later_statements_of_one_transaction_get_what_is_left(db):
    limit = text("SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'")
    with db.deadline(1000) as deadline, one_transaction(db.engine) as connection:
        assert connection.scalar(limit) <= 1_000_000
        deadline.at -= 500
        assert 0 < connection.scalar(limit) <= 500_000


def test_a_statement_that_was_given_up_without_a_deadline_says_where_the_time_went():
    error = psycopg2.OperationalError("lost")
    bounded(Driver("any"), object(), 0.5).mark(error)
    told = by_deadline(error)
    given = given_up(error)
    assert told is not None and given is not None
    assert (told.seconds, told.spent.statements) == (0.5, given.took)
    assert by_deadline(psycopg2.OperationalError("another")) is None
