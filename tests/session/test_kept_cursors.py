"""A cursor that a borrower keeps is closed when the connection comes back: the next one's transaction is its own."""

from __future__ import annotations

import gc
import weakref

import psycopg2
import psycopg2.extras
import pytest

from dbkit.dropin import ConnectionPool


def is_of_the_drivers_own_class(driver, connection) -> bool:
    if driver == "psycopg2":
        return isinstance(connection, psycopg2.extensions.connection)
    import psycopg

    return isinstance(connection, psycopg.Connection)


def make_cursor(driver, connection, kind):
    if kind == "named":
        return connection.cursor("kept")
    if kind == "own":
        if driver == "psycopg2":
            return connection.cursor(cursor_factory=psycopg2.extras.DictCursor)
        from psycopg import ClientCursor

        connection.cursor_factory = ClientCursor
    return connection.cursor()


@pytest.mark.parametrize("kind", ["plain", "own", "named"])
def test_a_kept_cursor_cannot_reach_the_next_borrowers_transaction(db, driver, table, kind):
    with db.raw_connection() as connection:
        assert is_of_the_drivers_own_class(driver, connection)
        kept = make_cursor(driver, connection, kind)
        kept.execute("SELECT 1")
    with db.raw_connection() as connection:
        with pytest.raises(connection.Error):
            kept.fetchall() if kind == "named" else kept.execute(f"INSERT INTO {table} VALUES (1, 'stray')")
        connection.cursor().execute(f"INSERT INTO {table} VALUES (2, 'mine')")
    assert db.execute_query(f"SELECT name FROM {table}").scalars() == ("mine",)
    assert db.stats().opens == 1


def test_a_cursor_kept_from_a_session_is_closed_too(db):
    with db.session_scope() as session:
        kept = session.connection().connection.cursor()
        error = session.connection().connection.dbapi_connection.Error
    with pytest.raises(error):
        kept.execute("SELECT 1")


def test_a_cursor_dropped_by_its_borrower_is_not_kept_alive(db):
    with db.raw_connection() as connection:
        cursor = connection.cursor()
        gone = weakref.ref(cursor)
        del cursor
        gc.collect()
        assert gone() is None
        for _ in range(100):
            connection.cursor().execute("SELECT 1")
        assert len(connection.dbkit_cursors) < 20


def test_a_connection_factory_of_the_users_own_is_kept(managers):
    class Own(psycopg2.extensions.connection):
        pass

    db = managers("psycopg2", engine_options={"connect_args": {"connection_factory": Own}})
    with db.raw_connection() as connection:
        assert isinstance(connection, Own)
        kept = connection.cursor()
    with pytest.raises(psycopg2.InterfaceError), db.raw_connection():
        kept.execute("SELECT 1")


def test_the_pool_of_any_database_closes_them_too(shared_database):
    class Database:
        def create_connection(self):
            return psycopg2.connect(shared_database)

    pool = ConnectionPool(Database(), min_size=0, max_size=1)
    lent = pool.acquire()
    kept = lent.cursor(cursor_factory=psycopg2.extras.DictCursor)
    named = lent.cursor("kept")
    named.execute("SELECT 1")
    pool.release(lent)
    with pool.connection():
        assert kept.closed
        with pytest.raises(psycopg2.Error):
            named.fetchall()
    pool.close()
