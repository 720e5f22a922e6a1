"""A connection that comes back behaves as it was opened, whatever its borrower did to it, on every road."""

from __future__ import annotations

from contextlib import contextmanager
from decimal import Decimal

import psycopg2.extensions
import pytest
from sqlalchemy import create_engine, exc, make_url, text

from dbkit.drivers import for_dialect
from dbkit.pool.elastic import ElasticPool

READ_ONLY = {"psycopg2": "readonly", "psycopg": "read_only"}


@contextmanager
def through_raw_connection(db):
    with db.raw_connection() as connection:
        yield connection


@contextmanager
def through_the_engine(db):
    with db.engine.connect() as connection:
        yield connection.connection.dbapi_connection


@contextmanager
def through_a_session(db):
    with db.session_scope() as session:
        yield session.connection().connection.dbapi_connection


@pytest.fixture(params=[through_raw_connection, through_the_engine, through_a_session])
def borrow(request):
    return request.param


def state(db):
    with db.engine.connect() as connection:
        return for_dialect(db.engine.dialect).state(connection.connection.dbapi_connection)


@pytest.mark.parametrize(
    "options",
    [
        {"postgresql_readonly": True},
        {"postgresql_deferrable": True},
        {"isolation_level": "SERIALIZABLE"},
        {"isolation_level": "AUTOCOMMIT"},
        {"isolation_level": "SERIALIZABLE", "postgresql_readonly": True, "postgresql_deferrable": True},
    ],
    ids=str,
)
def test_sqlalchemys_characteristics_leave_nothing(db, driver, options):
    before = state(db)
    with db.session_scope() as session:
        session.connection(execution_options=options)
        session.execute(text("SELECT 1"))
    assert state(db) == before
    with db.raw_connection() as connection:
        assert getattr(connection, READ_ONLY[driver]) is connection.deferrable is connection.isolation_level is None
    db.execute_query("VACUUM pg_class")  # needs a connection in no transaction
    assert db.stats().opens == 1


def test_a_role_that_is_read_only_stays_so(managers, driver, shared_database, admin):
    admin.rows("DROP ROLE IF EXISTS careful")
    url = make_url(shared_database).set(username="careful")
    admin.rows("CREATE ROLE careful LOGIN SUPERUSER PASSWORD %s", url.password)
    admin.rows("ALTER ROLE careful SET default_transaction_read_only = on")
    db = managers(driver, url=url.render_as_string(hide_password=False))
    admin.rows("CREATE TABLE IF NOT EXISTS written (n int)")
    try:
        with db.engine.connect().execution_options(postgresql_readonly=True) as connection:
            connection.execute(text("SELECT 1"))
        for _ in range(2):
            with pytest.raises(exc.DBAPIError, match="read-only"), db.session_scope() as session:
                session.execute(text("INSERT INTO written VALUES (1)"))
    finally:
        db.close_connections()
        admin.rows("DROP TABLE written")
        admin.rows("DROP ROLE careful")


def register(driver, connection):
    """Have numerics come as floats, on this connection alone."""
    if driver == "psycopg2":
        floats = psycopg2.extensions.new_type((1700,), "FLOATS", lambda value, cursor: value and float(value))
        psycopg2.extensions.register_type(floats, connection)
    else:
        from psycopg.types.numeric import FloatLoader

        connection.adapters.register_loader("numeric", FloatLoader)


@pytest.mark.parametrize("reset", ["rollback", "discard"])
def test_what_is_registered_on_a_connection_ends_with_the_loan(managers, driver, borrow, reset):
    db = managers(driver, engine_options={"reset": reset})
    before = state(db)
    for _ in range(2):
        with borrow(db) as connection:
            register(driver, connection)
            cursor = connection.cursor()
            cursor.execute("SELECT 1.5")
            assert type(cursor.fetchone()[0]) is float
        assert type(db.execute_query("SELECT 1.5").scalar()) is Decimal
    assert state(db) == before
    assert db.stats().opens == 1


def test_what_connect_listeners_register_stays(managers, driver):
    from sqlalchemy import event

    db = managers(driver)
    event.listen(db.engine, "connect", lambda connection, record: register(driver, connection))
    for _ in range(2):
        with db.raw_connection() as connection:
            register(driver, connection)
        assert type(db.execute_query("SELECT 1.5").scalar()) is float


@pytest.mark.parametrize("knows", [True, False], ids=["told", "untold"])
def test_the_clients_encoding_ends_with_the_loan(db, driver, borrow, knows):
    with borrow(db) as connection:
        if driver == "psycopg2" and knows:  # else only the server knows; psycopg 3 hears it from there
            connection.set_client_encoding("LATIN1")
        connection.autocommit = True
        connection.cursor().execute("SET client_encoding TO latin1")
        connection.autocommit = False
    assert db.execute_query("SHOW client_encoding").scalar() == "UTF8"
    assert db.execute_query("SELECT '€'").scalar() == "€"
    assert db.stats().opens == 1


def test_a_plain_engine_keeps_them_too(shared_database, driver):
    url = make_url(shared_database).set(drivername=f"postgresql+{driver}")
    engine = create_engine(url, poolclass=ElasticPool, min_size=0, max_size=1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        register(driver, connection.connection.dbapi_connection)
        connection.execute(text("SET client_encoding TO latin1"))
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection.isolation_level is None
        assert type(connection.scalar(text("SELECT 1.5"))) is Decimal
        assert connection.scalar(text("SHOW client_encoding")) == "UTF8"
    engine.pool.close()


def test_who_wants_no_reset_gets_none(shared_database, driver):
    url = make_url(shared_database).set(drivername=f"postgresql+{driver}")
    engine = create_engine(url, poolclass=ElasticPool, min_size=0, max_size=1, pool_reset_on_return=None)
    with engine.connect() as connection:
        connection.connection.dbapi_connection.autocommit = True
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection.autocommit
    engine.pool.close()
