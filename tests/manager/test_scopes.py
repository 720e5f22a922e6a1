"""Sessions and driver connections for a block: commit, roll back, and always give back."""

from __future__ import annotations

import gc
from contextlib import nullcontext

import psycopg2
import psycopg2.extras
import pytest
from sqlalchemy import exc, text

from dbkit.session import scopes

from .conftest import terminate


def count(db, table) -> int:
    return db.execute_query(f"SELECT count(*) FROM {table}").scalar()


def insert(session, table, key=1) -> None:
    session.execute(text(f"INSERT INTO {table} VALUES (:id, 'x')"), {"id": key})


def fresh(db) -> bool:
    """Whether every idle connection is as a new one."""
    with db.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        return (
            raw.autocommit is False
            and raw.isolation_level is raw.readonly is raw.deferrable is raw.cursor_factory is None
            and raw.get_transaction_status() == psycopg2.extensions.TRANSACTION_STATUS_IDLE
        )


# ---- sessions


def test_a_session_commits(db, table):
    with db.session_scope() as session:
        insert(session, table)
    assert count(db, table) == 1
    assert db.stats().in_use == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_session_rolls_back_and_reraises(db, table, error):
    raised = error("mine")
    with pytest.raises(error) as caught, db.session_scope() as session:
        insert(session, table)
        raise raised
    assert caught.value is raised
    assert count(db, table) == 0
    assert db.stats().in_use == 0


def test_a_commit_that_fails_rolls_back(db, table):
    db.execute_query(f"ALTER TABLE {table} ADD UNIQUE (name) DEFERRABLE INITIALLY DEFERRED")
    with pytest.raises(exc.IntegrityError), db.session_scope() as session:
        insert(session, table, 1)
        insert(session, table, 2)
    assert count(db, table) == 0
    assert db.stats().in_use == 0


def test_a_session_may_commit_in_between(db, table):
    with pytest.raises(ValueError), db.session_scope() as session:
        insert(session, table, 1)
        session.commit()
        insert(session, table, 2)
        raise ValueError
    assert db.execute_query(f"SELECT id FROM {table}").scalars() == (1,)


def test_nested_scopes_are_independent(db, table):
    with pytest.raises(ValueError), db.session_scope() as outer:
        insert(outer, table, 1)
        with db.session_scope() as inner:
            assert inner is not outer
            insert(inner, table, 2)
        raise ValueError
    assert db.execute_query(f"SELECT id FROM {table}").scalars() == (2,)


def test_an_idle_session_borrows_nothing(db):
    with db.session_scope():
        assert db.stats().in_use == 0


def test_an_abandoned_generator_gives_back(db, table):
    def rows():
        with db.session_scope() as session:
            insert(session, table)
            yield from session.execute(text("SELECT generate_series(1, 100)"))

    generator = rows()
    next(generator)
    assert db.stats().in_use == 1
    del generator
    gc.collect()
    assert db.stats().in_use == 0
    assert count(db, table) == 0


def test_a_session_whose_connection_was_killed(db, table):
    with pytest.raises(exc.OperationalError), db.session_scope() as session:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        insert(session, table)
        terminate(db, pid)
        insert(session, table, 2)
    assert db.stats().in_use == 0
    assert count(db, table) == 0
    with db.session_scope() as session:
        assert session.scalar(text("SELECT pg_backend_pid()")) != pid


def test_a_connection_killed_before_the_commit(db, table):
    with pytest.raises(exc.DBAPIError), db.session_scope() as session:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        insert(session, table)
        terminate(db, pid)
    assert db.stats().in_use == 0
    assert count(db, table) == 0


def test_the_blocks_own_error_wins_over_a_dead_connection(db):
    with pytest.raises(ValueError, match="mine"), db.session_scope() as session:
        terminate(db, session.scalar(text("SELECT pg_backend_pid()")))
        raise ValueError("mine")
    assert db.stats().in_use == 0
    assert fresh(db)


def test_session_options_are_the_sessionmakers(db, table):
    db.sessions.configure(expire_on_commit=False)
    with db.session_scope() as session:
        assert session.expire_on_commit is False


# ---- the driver's connection


def test_a_raw_connection_commits(db, table):
    with db.raw_connection() as connection, connection.cursor() as cursor:
        assert isinstance(connection, psycopg2.extensions.connection)
        cursor.execute(f"INSERT INTO {table} VALUES (1, 'a')")
    assert count(db, table) == 1
    assert db.stats().in_use == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_raw_connection_rolls_back_and_reraises(db, table, error):
    with pytest.raises(error), db.raw_connection() as connection, connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (1, 'a')")
        raise error
    assert count(db, table) == 0
    assert db.stats().in_use == 0
    assert fresh(db)


def test_a_raw_connection_raises_the_drivers_errors(db):
    with pytest.raises(psycopg2.errors.UndefinedTable), db.raw_connection() as connection:
        connection.cursor().execute("SELECT * FROM no_such_table")
    assert fresh(db)


def test_what_a_borrower_changes_is_put_back(db, table):
    with db.raw_connection() as connection:
        connection.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True)
        connection.cursor_factory = psycopg2.extras.DictCursor
        connection.cursor().execute("SELECT 1")
    assert fresh(db)
    with db.raw_connection() as connection:
        connection.autocommit = True
        connection.cursor().execute(f"INSERT INTO {table} VALUES (1, 'a')")
    assert fresh(db)
    with pytest.raises(ValueError), db.raw_connection() as connection:
        connection.set_session(readonly=True, autocommit=True)
        raise ValueError
    assert fresh(db)
    db.execute_query(f"INSERT INTO {table} VALUES (2, 'b')")  # not read-only any more
    assert count(db, table) == 2


def test_a_transaction_of_the_borrowers_own_in_autocommit(db, table):
    with db.raw_connection() as connection:
        connection.autocommit = True
        connection.cursor().execute(f"BEGIN; INSERT INTO {table} VALUES (1, 'a')")
    assert count(db, table) == 1
    with pytest.raises(ValueError), db.raw_connection() as connection:
        connection.autocommit = True
        connection.cursor().execute(f"BEGIN; INSERT INTO {table} VALUES (2, 'b')")
        raise ValueError
    assert count(db, table) == 1
    assert fresh(db)


def test_a_swallowed_error_is_not_taken_for_a_commit(db, table):
    with pytest.raises(exc.PendingRollbackError, match="Nothing was committed"), db.raw_connection() as connection:
        cursor = connection.cursor()
        cursor.execute(f"INSERT INTO {table} VALUES (1, 'a')")
        with pytest.raises(psycopg2.Error):
            cursor.execute("SELECT 1/0")
    assert count(db, table) == 0
    with db.raw_connection() as connection:
        cursor = connection.cursor()
        with pytest.raises(psycopg2.Error):
            cursor.execute("SELECT 1/0")
        connection.rollback()
        cursor.execute(f"INSERT INTO {table} VALUES (1, 'a')")
    assert count(db, table) == 1


def test_a_connection_closed_by_its_borrower_is_replaced(db):
    with db.raw_connection() as connection:
        connection.close()
    assert db.stats().in_use == 0
    assert fresh(db)


def test_a_raw_connection_that_was_killed(db, table):
    with pytest.raises(psycopg2.OperationalError), db.raw_connection() as connection:
        terminate(db, connection.info.backend_pid)
        connection.cursor().execute("SELECT 1")
    assert db.stats().in_use == 0
    with pytest.raises(psycopg2.Error), db.raw_connection() as connection:
        connection.cursor().execute(f"INSERT INTO {table} VALUES (1, 'a')")
        terminate(db, connection.info.backend_pid)
    assert db.stats().in_use == 0
    assert count(db, table) == 0
    assert fresh(db)


def test_a_lost_connection_whose_error_was_swallowed_is_not_taken_for_a_commit(db, table):
    with pytest.raises(psycopg2.InterfaceError), db.raw_connection() as connection:
        connection.cursor().execute(f"INSERT INTO {table} VALUES (1, 'a')")
        terminate(db, connection.info.backend_pid)
        with pytest.raises(psycopg2.OperationalError):
            connection.cursor().execute("SELECT 1")
    assert db.stats().in_use == 0
    assert count(db, table) == 0


def test_copy(db, table):
    import io

    with db.raw_connection() as connection, connection.cursor() as cursor:
        cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO("1\ta\n2\tb\n"))
    assert count(db, table) == 2


def test_a_rollback_that_fails_keeps_neither_the_connection_nor_the_blocks_own_error(db, monkeypatch):
    rollback, failed = db.engine.dialect.do_rollback, []

    def fail_once(connection):
        if not failed:
            failed.append(connection)
            raise RuntimeError("no rollback")
        rollback(connection)

    with pytest.raises(ZeroDivisionError), db.session_scope() as session:
        session.execute(text("SELECT 1"))
        monkeypatch.setattr(db.engine.dialect, "do_rollback", fail_once)
        raise ZeroDivisionError
    assert failed
    assert db.stats().in_use == 0
    assert fresh(db)


def test_where_no_rollback_works_a_scope_with_a_savepoint_open_costs_the_connection(db, monkeypatch):
    def fail(*_):
        raise RuntimeError("no rollback")

    with pytest.raises(ZeroDivisionError), db.session_scope() as session:
        session.begin_nested()
        session.execute(text("SELECT 1"))
        monkeypatch.setattr(db.engine.dialect, "do_rollback_to_savepoint", fail)
        monkeypatch.setattr(db.engine.dialect, "do_rollback", fail)
        raise ZeroDivisionError
    assert db.stats().closes == {"invalidated": 1}
    assert db.stats().in_use == 0


def test_a_raw_connection_struck_while_it_is_tidied_costs_the_connection(db, monkeypatch):
    def strike(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(scopes, "restore", strike)
    with pytest.raises(KeyboardInterrupt), db.raw_connection():
        pass
    assert db.stats().closes == {"invalidated": 1}
    assert db.stats().in_use == 0


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_a_transaction_begun_by_hand_is_ended_and_costs_no_connection(db, error):
    with pytest.raises(error) if error else nullcontext(), db.raw_connection() as connection:
        connection.autocommit = True
        connection.cursor().execute("BEGIN")
        if error:
            raise error
    assert fresh(db)
    assert (db.stats().opens, db.stats().closes) == (1, {})
