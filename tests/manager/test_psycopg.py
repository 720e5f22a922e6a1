"""A manager on psycopg 3 does all that one on psycopg2 does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import exc, make_url, text

from dbkit import DatabaseConnectionManager

from .conftest import terminate

INI = Path(__file__).resolve().parents[2] / "alembic.ini"


def on_psycopg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture
def db(shared_database: str) -> Iterator[DatabaseConnectionManager]:
    """A manager on the shared database; whatever a test borrows has to be back at its end."""
    with DatabaseConnectionManager(on_psycopg(shared_database), min_size=0, max_size=3, timeout=10) as manager:
        yield manager
        assert manager.close_connections() == ()


def count(db: DatabaseConnectionManager, table: str) -> int:
    found: int = db.execute_query(f"SELECT count(*) FROM {table}").scalar()
    return found


def test_the_url_chooses_the_driver(db, shared_database):
    assert db.engine.url.drivername == "postgresql+psycopg"
    with db.raw_connection() as connection:
        assert isinstance(connection, psycopg.Connection)
    for url in (shared_database, shared_database.replace("postgresql://", "postgresql+psycopg2://")):
        with DatabaseConnectionManager(url, min_size=0) as other:
            assert other.engine.url.drivername == "postgresql+psycopg2"


def test_warm_up_opens_the_minimum(shared_database):
    with DatabaseConnectionManager(on_psycopg(shared_database), min_size=2, max_size=3, warm=True) as db:
        assert db.stats().size == 2


def test_warm_up_says_why_it_failed(shared_database):
    with pytest.raises(exc.OperationalError, match="no_such_database") as caught:
        DatabaseConnectionManager(make_url(on_psycopg(shared_database)).set(database="no_such_database"), warm=True)
    assert isinstance(caught.value.orig, psycopg.OperationalError)


def test_a_session_commits_or_rolls_back(db, table):
    with db.session_scope() as session:
        session.execute(text(f"INSERT INTO {table} VALUES (:id, 'x')"), {"id": 1})
    with pytest.raises(ValueError), db.session_scope() as session:
        session.execute(text(f"INSERT INTO {table} VALUES (:id, 'x')"), {"id": 2})
        raise ValueError
    assert count(db, table) == 1


def test_a_raw_connection_commits_or_rolls_back(db, table):
    with db.raw_connection() as connection:
        connection.execute(f"INSERT INTO {table} VALUES (1, 'a')")
    with pytest.raises(ValueError), db.raw_connection() as connection:
        connection.execute(f"INSERT INTO {table} VALUES (2, 'b')")
        raise ValueError
    with db.raw_connection() as connection:
        connection.autocommit = True
        connection.execute("BEGIN")
        connection.execute(f"INSERT INTO {table} VALUES (3, 'c')")
    assert count(db, table) == 2


def test_a_swallowed_error_is_not_taken_for_a_commit(db, table):
    with pytest.raises(exc.PendingRollbackError, match="Nothing was committed"), db.raw_connection() as connection:
        connection.execute(f"INSERT INTO {table} VALUES (1, 'a')")
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT 1/0")
    assert count(db, table) == 0


def test_a_raw_connection_goes_back_as_it_came(db):
    with db.raw_connection() as connection:
        connection.autocommit = True
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        connection.read_only = connection.deferrable = True
        connection.row_factory = dict_row
        connection.prepare_threshold = None
        connection.execute("BEGIN")
    with db.raw_connection() as again:
        assert again is connection
        assert not again.autocommit
        assert again.isolation_level is again.read_only is again.deferrable is None
        assert again.row_factory is not dict_row
        assert again.prepare_threshold == 5
        assert again.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_connection_closed_by_its_borrower_is_replaced(db):
    with db.raw_connection() as connection:
        connection.close()
    assert db.execute_query("SELECT 1").scalar() == 1


def test_a_raw_connection_that_was_killed_is_replaced(db, table):
    with pytest.raises(psycopg.OperationalError), db.raw_connection() as connection:
        connection.execute(f"INSERT INTO {table} VALUES (1, 'a')")
        terminate(db, connection.info.backend_pid)
        connection.execute("SELECT 1")
    assert db.stats().in_use == 0
    assert count(db, table) == 0


def test_copy(db, table):
    with db.raw_connection() as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY {table} FROM STDIN") as copy:
            copy.write("1\ta\n2\tb\n")
    assert count(db, table) == 2


def test_the_engines_json_functions_are_psycopgs_too(shared_database):
    options = {"json_deserializer": lambda text: ("loaded", text)}
    with DatabaseConnectionManager(on_psycopg(shared_database), min_size=0, engine_options=options) as db:
        assert db.execute_query("SELECT '{}'::json").scalar()[0] == "loaded"


def test_migrations(database):
    with DatabaseConnectionManager(on_psycopg(database), min_size=0, max_size=1) as db:
        db.migrate("head", config=INI)
        assert db.execute_query("SELECT to_regclass('movies')").scalar() == "movies"
        db.downgrade("base", config=INI)
        assert db.execute_query("SELECT to_regclass('movies')").scalar() is None
        assert db.stats().in_use == 0


def test_a_credential_gives_the_password_of_each_connection(shared_database):
    url = make_url(on_psycopg(shared_database))
    asked = []

    def password() -> str:
        asked.append(url.username)
        return url.password or "none is needed"

    with DatabaseConnectionManager(url.set(password=None), credential=password, min_size=0) as db:
        assert db.execute_query("SELECT 1").scalar() == 1
        db.pool.dispose()
        assert db.execute_query("SELECT 1").scalar() == 1
    assert len(asked) == 2


def test_a_borrower_is_told_why_no_connection_could_be_had(shared_database):
    url = make_url(on_psycopg(shared_database))
    with DatabaseConnectionManager(url.set(host="127.0.0.1", port=1), min_size=0, timeout=5) as db:
        with pytest.raises(exc.OperationalError, match="refused") as caught:
            db.execute_query("SELECT 1")
    assert isinstance(caught.value.orig, psycopg.OperationalError)
