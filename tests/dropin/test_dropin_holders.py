"""Who has the connections is told: of one that was forgotten, and to a borrower that waits in vain."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg2
import pytest
from psycopg2.pool import PoolError
from sqlalchemy import exc

from dbkit.dropin import (
    DatabaseConnectionPool,
    DatabasePool,
    PostgresqlConnection,
    database_connection_pool,
    postgresql_connection,
)
from dbkit.dropin.connection_pool import ConnectionPool
from dbkit.dropin.errors import DropinError, NoConnectionError
from dbkit.pool.errors import PoolTimeoutError

from ..pool.helpers import PATIENCE, Task, eventually, in_line
from .common import lending, make_impatient


def forgetful(borrow: Callable[[], Any]) -> Any:
    """Borrow: the user's code, whose place is told, not dbkit's."""
    return borrow()


BORROWED_HERE = f"borrowed at forgetful ({__file__}:"


@contextmanager
def held_elsewhere(opened: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """While a thread named ``the-holder`` has a connection."""
    has_it, let_go = threading.Event(), threading.Event()

    def patient_holder() -> None:
        with opened():
            has_it.set()
            assert let_go.wait(PATIENCE)

    holder = Task(patient_holder, name="the-holder")
    try:
        assert has_it.wait(PATIENCE)
        yield
    finally:
        let_go.set()
        holder.outcome()


# ---- one that was forgotten


def report_in(caplog: Any) -> str:
    """Wait for the one report, and return it."""
    [report] = eventually(lambda: [message for message in caplog.messages if "has been out" in message])
    return str(report)


def test_a_forgotten_connection_is_reported_with_the_place_that_borrowed_it(
    environment: Callable[..., str], address: dict[str, Any], caplog: Any
):
    environment(address, leak_after=0.05)
    DatabaseConnectionPool.initialize_pool(1, 2)
    conn = forgetful(DatabaseConnectionPool.get_connection)
    assert BORROWED_HERE in report_in(caplog)
    DatabaseConnectionPool.put_connection(conn)


def test_a_leak_is_reported_with_the_place(address: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: Any):
    monkeypatch.setenv("DB_LEAK_AFTER", "0.05")
    DatabasePool.initialize(**address)
    conn = forgetful(DatabasePool.get_connection)
    assert BORROWED_HERE in report_in(caplog)
    DatabasePool.return_connection(conn)


# ---- in vain


def test_the_error_of_an_exhausted_pool_names_who_has_the_connections(
    environment: Callable[..., str], address: dict[str, Any]
):
    environment(address)
    DatabaseConnectionPool.initialize_pool(1, 1)
    make_impatient(database_connection_pool)
    conn = forgetful(DatabaseConnectionPool.get_connection)
    with pytest.raises(NoConnectionError, match="No connections available") as caught:
        DatabaseConnectionPool.get_connection()
    assert BORROWED_HERE in str(caught.value)
    DatabaseConnectionPool.put_connection(conn)


def test_the_error_after_waiting_names_the_holders(shared_database: str):
    with lending(shared_database, max_size=1, leak_after=60) as loans:
        lent = forgetful(loans.borrow)
        with pytest.raises(NoConnectionError, match="No connections available") as caught:
            loans.borrow(timeout=0.01)
        message = str(caught.value)
        assert threading.current_thread().name in message
        assert BORROWED_HERE in message
        for kind in (DropinError, PoolTimeoutError, exc.TimeoutError, RuntimeError, PoolError, psycopg2.Error):
            assert isinstance(caught.value, kind)
        loans.give_back(lent)


def test_a_full_connection_pool_waits_and_then_names_the_holders(make_pool: Callable[..., ConnectionPool]):
    pool = make_pool(max_size=1)
    with held_elsewhere(pool.connection):
        with pytest.raises(RuntimeError, match=r"^Timeout waiting for connection \(0\.05s\)") as caught:
            pool.acquire(timeout=0.05)
        assert isinstance(caught.value, NoConnectionError)
        assert "the-holder" in str(caught.value)
        assert "patient_holder" in str(caught.value)
        waiter = Task(pool.acquire)
        in_line(pool._pool, 1)
    pool.release(waiter.outcome())
    pool.timeout = 0.02
    with pool.connection(), pytest.raises(NoConnectionError, match=r"\(0\.02s\)"):
        pool.acquire()


def test_a_block_waits_and_then_names_the_holders(environment: Callable[..., str], address: dict[str, Any]):
    environment(address, max_conn=1)
    db = PostgresqlConnection()
    make_impatient(postgresql_connection)
    with held_elsewhere(lambda: db):
        with pytest.raises(NoConnectionError, match="No connections available") as caught, db:
            pass
        assert isinstance(caught.value, RuntimeError)
        assert "the-holder" in str(caught.value)
    with db:
        pass
