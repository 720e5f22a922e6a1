"""A commit is a commit: an aborted transaction is told as such, on every road, and costs no round trip to find out."""

from __future__ import annotations

import pytest
from sqlalchemy import exc, text

from dbkit.drivers.commits import lost_at_commit
from dbkit.session.query import _unobserved


def ids(db, table) -> tuple[int, ...]:
    return db.execute_query(f"SELECT id FROM {table} ORDER BY id").scalars()


def insert(connection, table, key) -> None:
    connection.execute(text(f"INSERT INTO {table} VALUES (:id, 'x')"), {"id": key})


def fail(connection) -> None:
    with pytest.raises(exc.DBAPIError):
        connection.execute(text("SELECT 1/0"))


def test_a_scope_that_swallowed_an_error_says_that_nothing_was_committed(db, table):
    with pytest.raises(exc.PendingRollbackError, match="Nothing was committed"), db.session_scope() as session:
        insert(session, table, 1)
        fail(session)
    assert ids(db, table) == ()
    assert db.stats().in_use == 0


def test_a_commit_within_the_scope_says_so_too(db, table):
    with db.session_scope() as session:
        insert(session, table, 1)
        fail(session)
        with pytest.raises(exc.PendingRollbackError):
            session.commit()
        session.rollback()
        insert(session, table, 2)
    assert ids(db, table) == (2,)


def test_an_engines_transaction_says_so_too(db, table):
    with pytest.raises(exc.PendingRollbackError), db.engine.begin() as connection:
        insert(connection, table, 1)
        fail(connection)
    with db.engine.connect() as connection:
        insert(connection, table, 1)
        fail(connection)
        with pytest.raises(exc.PendingRollbackError):
            connection.commit()
        connection.rollback()
        insert(connection, table, 2)
        connection.commit()
    assert ids(db, table) == (2,)
    assert db.stats().opens == 1  # the connection was good all the time


def test_a_transaction_mended_by_a_savepoint_is_committed(db, table):
    with db.session_scope() as session:
        insert(session, table, 1)
        with pytest.raises(exc.IntegrityError), session.begin_nested():
            insert(session, table, 1)
        insert(session, table, 2)
    assert ids(db, table) == (1, 2)


def test_autocommit_goes_on_after_an_error(db, table):
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        fail(connection)
        insert(connection, table, 1)
        connection.commit()
    assert ids(db, table) == (1,)


def test_two_phases_go_on_working(db, table):
    with db.engine.connect() as connection:
        transaction = connection.begin_twophase()
        insert(connection, table, 1)
        transaction.commit()  # not prepared: committed at once
    assert ids(db, table) == (1,)
    with db.engine.connect() as connection:
        transaction = connection.begin_twophase()
        insert(connection, table, 2)
        fail(connection)
        with pytest.raises(exc.PendingRollbackError):
            transaction.commit()
    assert ids(db, table) == (1,)


def test_the_check_leaves_the_fast_road_open(db):
    assert _unobserved(db.engine)


def test_a_connection_lost_at_commit_is_told_from_one_lost_before(db, table, admin):
    with pytest.raises(exc.DBAPIError) as at_commit, db.engine.begin() as connection:
        insert(connection, table, 1)
        admin.kill(connection.scalar(text("SELECT pg_backend_pid()")))
    with pytest.raises(exc.DBAPIError) as before, db.engine.begin() as connection:
        admin.kill(connection.scalar(text("SELECT pg_backend_pid()")))
        insert(connection, table, 1)
    assert lost_at_commit(at_commit.value.orig)
    assert at_commit.value.connection_invalidated
    assert not lost_at_commit(before.value.orig)
