"""What each driver's adapter answers about a real connection, and what the generic one answers about any."""

from __future__ import annotations

import importlib
import os
import socket
import sqlite3
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url
from sqlalchemy.engine.default import DefaultDialect

from dbkit.drivers import DriverMissingError, dbapi_module, for_connection, for_dialect
from dbkit.drivers.base import Driver, Transaction, check_support
from dbkit.pool.liveness import make_peek

from ..pool.helpers import Admin, Task, eventually


def dialect(name: str) -> Any:
    return make_url(f"{name}://").get_dialect()()


@pytest.fixture
def connection(driver_name: str, shared_database: str) -> Iterator[Any]:
    found = importlib.import_module(driver_name).connect(shared_database)
    yield found
    found.close()


@pytest.fixture
def driver(driver_name: str) -> Driver:
    return for_dialect(dialect(f"postgresql+{driver_name}"))


def execute(connection: Any, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def pid(connection: Any) -> int:
    found: int = connection.info.backend_pid
    return found


def test_the_dialect_chooses(driver: Driver, driver_name: str):
    assert driver.name == driver_name
    assert driver is for_dialect(dialect(f"postgresql+{driver_name}"))
    for other in ("sqlite", "postgresql+pg8000"):
        assert type(for_dialect(dialect(other))) is Driver
    for name, kind in (("asyncpg", "AsyncpgDriver"), ("psycopg_async", "AsyncPsycopgDriver")):
        assert type(for_dialect(dialect(f"postgresql+{name}"))).__name__ == kind
    assert type(for_dialect(DefaultDialect())) is Driver


def test_a_connections_class_tells_where_there_is_no_dialect(driver: Driver, connection: Any):
    assert for_connection(connection) is driver
    unknown = for_dialect(None)
    assert unknown.is_clean(connection)
    assert unknown.descriptor(connection) == connection.fileno()
    execute(connection, "SELECT 1")
    assert not unknown.is_clean(connection)
    assert unknown.is_clean(object())


def test_a_class_made_from_the_drivers_is_the_drivers(shared_database: str):
    class Mine(psycopg2.extensions.connection):
        pass

    mine = psycopg2.connect(shared_database, connection_factory=Mine)
    assert for_connection(mine).name == "psycopg2"
    mine.close()


def test_open_and_clean(driver: Driver, connection: Any):
    assert driver.is_open(connection)
    assert driver.is_clean(connection)
    assert driver.transaction(connection) is Transaction.NONE
    execute(connection, "SELECT 1")
    assert driver.transaction(connection) is Transaction.OPEN
    assert not driver.is_clean(connection)
    driver.leave_transaction(connection)
    assert driver.is_clean(connection)
    with pytest.raises(connection.Error):
        execute(connection, "SELECT 1/0")
    assert driver.transaction(connection) is Transaction.FAILED
    connection.close()
    assert not driver.is_open(connection)
    assert not driver.is_clean(connection)
    assert driver.transaction(connection) is Transaction.UNKNOWN
    assert driver.descriptor(connection) is None
    assert driver.closed_by_borrower(connection)


def test_a_lost_connection_was_not_closed_by_its_borrower(driver: Driver, connection: Any, admin: Admin):
    admin.kill(pid(connection))
    with pytest.raises(connection.OperationalError):
        execute(connection, "SELECT 1")
    eventually(lambda: not driver.is_open(connection))
    assert not driver.closed_by_borrower(connection)


def test_a_peek_hears_that_the_session_was_killed(driver: Driver, connection: Any, admin: Admin):
    peek = make_peek(driver, connection)
    assert peek is not None
    execute(connection, "SELECT 1")
    connection.rollback()
    assert peek(0) == []
    admin.kill(pid(connection))
    assert peek(5000)


def test_sqlstate_and_position(driver: Driver, connection: Any):
    with pytest.raises(connection.Error) as caught:
        execute(connection, "SELECT 1 FORM x")
    assert driver.sqlstate(caught.value) == "42601"
    assert driver.error_position(caught.value) == 15
    connection.rollback()
    with pytest.raises(connection.Error) as caught:
        execute(connection, "SELECT 1/0")
    assert driver.sqlstate(caught.value) == "22012"
    assert driver.error_position(caught.value) is None
    for other in (ValueError("x"), None, connection.OperationalError("no server said this")):
        assert driver.sqlstate(other) is None
        assert driver.error_position(other) is None


def test_encoding(driver: Driver, connection: Any):
    assert driver.encoding(connection) in ("UTF8", "utf-8")


def test_a_running_statement_is_cancelled_from_another_thread(driver: Driver, connection: Any, admin: Admin):
    task = Task(execute, connection, "SELECT pg_sleep(60)")
    running = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND query LIKE '%%pg_sleep%%' AND state = 'active'"
    eventually(lambda: admin.rows(running, pid(connection)))
    assert driver.cancel(connection)
    with pytest.raises(connection.OperationalError) as caught:
        task.outcome()
    assert driver.sqlstate(caught.value) == "57014"


def test_psycopg2_asks_no_server_that_is_out_of_reach_to_cancel(shared_database: str):
    """It would keep the whole interpreter waiting."""
    connection: Any = psycopg2.connect(shared_database)
    driver = for_connection(connection)
    assert driver.cancel(connection)
    with socket.create_server(("127.0.0.1", 0)) as mute, socket.create_connection(mute.getsockname()) as other:
        kept = os.dup(connection.fileno())
        try:
            os.dup2(other.fileno(), connection.fileno())
            with pytest.raises(psycopg2.OperationalError, match="does not answer"):
                driver.cancel(connection)
        finally:
            os.dup2(kept, connection.fileno())
            os.close(kept)
    connection.close()


def test_shutting_down_leaves_the_drivers_descriptor_open(driver: Driver, connection: Any):
    descriptor = connection.fileno()
    driver.shut_down(connection)
    os.fstat(descriptor)  # an OSError, had it been closed under the driver's feet


def test_shutting_down_ends_a_wait(driver: Driver, connection: Any, admin: Admin):
    task = Task(execute, connection, "SELECT pg_sleep(60)")
    running = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND query LIKE '%%pg_sleep%%' AND state = 'active'"
    eventually(lambda: admin.rows(running, pid(connection)))
    driver.shut_down(connection)
    with pytest.raises(connection.OperationalError):
        task.outcome()
    driver.shut_down(connection)  # there is nothing any more, and no error


def test_a_session_is_discarded_and_the_connection_behaves_as_before(driver: Driver, connection: Any):
    connection.autocommit = True
    for statement in ("SET statement_timeout = 777", "CREATE TEMP TABLE left_behind (n int)", "LISTEN left_behind"):
        execute(connection, statement)
    assert driver.discard_session(connection)
    assert connection.autocommit
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), to_regclass('left_behind')")
        assert cursor.fetchone() == ("0", None)


def test_a_session_in_a_transaction_or_closed_is_not_discarded(driver: Driver, connection: Any):
    execute(connection, "SELECT 1")
    assert not driver.discard_session(connection)
    connection.rollback()
    assert driver.discard_session(connection)
    connection.close()
    assert not driver.discard_session(connection)


def test_a_writer_is_told_from_a_standby(driver: Driver, connection: Any):
    assert driver.is_writer(connection)
    execute(connection, "SET default_transaction_read_only = on")
    connection.commit()
    assert not driver.is_writer(connection)
    assert driver.is_clean(connection)
    assert isinstance(driver.error_for_read_only(connection), connection.OperationalError)


def test_only_the_borrowers_own_word_counts_as_asking_for_read_only(driver: Driver, driver_name: str, connection: Any):
    assert not driver.asked_for_read_only(connection)
    setattr(connection, {"psycopg2": "readonly", "psycopg": "read_only"}[driver_name], True)
    assert driver.asked_for_read_only(connection)
    assert driver.transactions_are_special(connection)


@pytest.mark.parametrize("name", ["isolation_level", "read_only", "deferrable"])
def test_one_characteristic_makes_transactions_special(driver: Driver, driver_name: str, connection: Any, name: str):
    if driver_name == "psycopg2":
        name = name.replace("_only", "only")
    setattr(connection, name, 3 if name == "isolation_level" else True)
    assert driver.transactions_are_special(connection)


def test_the_isolation_level_in_sqls_words(driver: Driver, connection: Any):
    assert driver.isolation_level(connection) is None
    postgresql = dialect(f"postgresql+{driver.name}")
    postgresql.dbapi = dbapi_module(driver.name)
    for level in ("READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"):
        postgresql.set_isolation_level(connection, level)
        assert driver.isolation_level(connection) == level
        assert driver.transactions_are_special(connection)
    driver.forget_isolation_level(connection)
    assert driver.isolation_level(connection) is None
    assert not driver.transactions_are_special(connection)


class Loud:
    """A connection that talks about itself in the way of some drivers."""

    closed = 0

    def __init__(self, descriptor: Any) -> None:
        self._descriptor = descriptor

    def fileno(self) -> Any:
        if isinstance(self._descriptor, Exception):
            raise self._descriptor
        return self._descriptor


@pytest.mark.parametrize("descriptor", [OSError("no socket"), ValueError("closed"), object(), -1, None])
def test_a_connection_without_a_real_socket_has_no_peek(descriptor: Any):
    assert make_peek(Driver("any"), Loud(descriptor)) is None
    assert make_peek(Driver("any"), sqlite3.connect(":memory:")) is None


def test_a_driver_that_is_not_known_promises_nothing():
    driver = Driver("pysqlite")
    connection = sqlite3.connect(":memory:")
    assert driver.is_open(connection)
    assert driver.is_clean(connection)
    assert driver.sqlstate(sqlite3.OperationalError("x")) is None
    assert not driver.cancel(connection)
    driver.shut_down(connection)
    assert driver.behaves_as(connection, driver.state(connection))
    with pytest.raises(NotImplementedError, match="pysqlite"):
        driver.connect()
    with pytest.raises(NotImplementedError, match="pysqlite"):
        driver.discard_session(connection)
    with pytest.raises(NotImplementedError, match="pysqlite"):
        driver.is_writer(connection)
    connection.close()


def test_a_connection_is_untouched_while_it_is_clean_and_behaves_as_it_did():
    class Fussy(Driver):
        def behaves_as(self, connection: Any, state: Any) -> bool:
            return False

    opened, closed = Loud(1), Loud(1)
    closed.closed = 1
    assert Driver("any").is_untouched(opened, None)
    assert not Driver("any").is_untouched(closed, None)
    assert not Fussy("any").is_untouched(opened, None)


def test_what_cannot_be_closed_in_order_is_ended_by_force_where_there_is_a_way():
    forced: list[int] = []
    Driver("any").terminate(SimpleNamespace(_terminate_force_close=lambda: forced.append(1)))
    assert forced == [1]
    Driver("any").terminate(object())


def test_what_a_driver_cannot_do_is_found_before_it_is_needed(driver: Driver):
    assert check_support(driver, reset="discard", require_writer=True) == []
    assert check_support(Driver("pysqlite"), reset="rollback", require_writer=False) == []
    faults = check_support(Driver("pysqlite"), reset="discard", require_writer=True)
    assert [fault.key for fault in faults] == ["reset", "require_writer"]
    assert all("pysqlite" in fault.reason and "psycopg" in fault.reason for fault in faults)


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DriverMissingError, match=r"pip install 'dbkit-postgres\[psycopg\]'") as caught:
        dbapi_module("psycopg")
    assert isinstance(caught.value, ImportError)
