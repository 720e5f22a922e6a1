"""A statement costs one round trip, counted on the wire, and the connection goes back as it came."""

from __future__ import annotations

import psycopg2
import pytest
from sqlalchemy import event, exc, literal, select

from dbkit.drivers import for_connection
from dbkit.engine import build_engine
from dbkit.session.query import execute_query
from dbkit.settings import DatabaseSettings


@pytest.fixture(params=["direct", "watched"])
def counted(request, driver, proxy, server, shared_database):
    """A function that makes engines which go through the counting proxy."""
    made = []

    def make(**options):
        settings = DatabaseSettings.load(
            shared_database, env_file=None, driver=driver,
            host="127.0.0.1", port=proxy.port, sslmode="disable", gssencmode="disable",
            min_size=0, max_size=1, keepalive=None,
        )  # fmt: skip
        engine = build_engine(settings, engine_options=options)
        made.append(engine)
        if request.param == "watched":
            event.listen(engine, "before_cursor_execute", lambda *args: None)
        execute_query(engine, "SELECT 0")  # what SQLAlchemy asks of the first connection is not counted
        return engine

    yield make
    for engine in made:
        assert engine.pool.close() == ()


def test_one_statement_is_one_round_trip(counted, proxy, driver):
    engine = counted()
    for _ in range(3):
        with proxy.expect("SELECT 1"):
            execute_query(engine, "SELECT 1")
    bound = driver == "psycopg"  # psycopg2 puts the values into the text
    with proxy.expect("SELECT $1" if bound else "SELECT 'a%'"):
        execute_query(engine, "SELECT :x", {"x": "a%"})
    with proxy.expect("SELECT $1" if bound else "SELECT 2"):
        execute_query(engine, "SELECT %s", (2,))
    with proxy.expect("SELECT $1::INTEGER AS anon_1" if bound else "SELECT 1 AS anon_1"):
        execute_query(engine, select(literal(1)))


def test_an_error_costs_no_more(counted, proxy):
    engine = counted()
    with proxy.expect("SELECT 1/0"), pytest.raises(exc.DataError):
        execute_query(engine, "SELECT 1/0")
    with proxy.expect("SELECT 1"):
        execute_query(engine, "SELECT 1")


def test_psycopg2_puts_modes_back_without_telling_the_server(proxy, shared_database):
    connection = psycopg2.connect(
        shared_database, host="127.0.0.1", port=proxy.port, sslmode="disable", gssencmode="disable"
    )
    driver = for_connection(connection)
    connection.isolation_level, connection.readonly = "SERIALIZABLE", True
    before = driver.state(connection)
    connection.isolation_level, connection.readonly, connection.autocommit = None, None, True
    with proxy.expect():
        driver.set_state(connection, before)
    assert driver.state(connection) == before
    connection.close()


def test_transactions_stay_transactions_afterwards(counted, proxy):
    engine = counted()
    execute_query(engine, "SELECT 1")
    with proxy.expect("BEGIN", "SELECT 2", "COMMIT"), engine.begin() as connection:
        connection.exec_driver_sql("SELECT 2")


def test_sqlalchemys_autocommit_does_not_make_it_dearer(counted, proxy):
    engine = counted()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SELECT 1")
    for _ in range(2):
        with proxy.expect("SELECT 1"):
            execute_query(engine, "SELECT 1")


def test_an_engine_with_an_isolation_level_keeps_it(counted, proxy):
    engine = counted(isolation_level="SERIALIZABLE")
    with proxy.expect("BEGIN ISOLATION LEVEL SERIALIZABLE", "SHOW transaction_isolation", "COMMIT"):
        assert execute_query(engine, "SHOW transaction_isolation").scalar() == "serializable"
    with proxy.expect("BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT 1/0", "ROLLBACK"), pytest.raises(exc.DataError):
        execute_query(engine, "SELECT 1/0")


def test_an_autocommit_engine_stays_in_autocommit(counted, proxy):
    engine = counted(isolation_level="AUTOCOMMIT")
    for _ in range(2):
        with proxy.expect("SELECT 1"):
            execute_query(engine, "SELECT 1")
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection.autocommit


def test_a_transaction_left_open_is_ended_on_the_wire(counted, proxy):
    engine = counted()
    with proxy.expect("BEGIN", "ROLLBACK"), pytest.raises(exc.InvalidRequestError):
        execute_query(engine, "BEGIN")
