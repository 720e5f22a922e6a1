"""What ``ConnectionPool`` lends, what it takes back, and what becomes of that at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from dbkit.dropin.connection_pool import ConnectionPool
from dbkit.dropin.errors import ClosedError, NotLentError

from ..pool.helpers import Task, eventually, in_line
from .mock_database import MockConnection, MockDatabase, numbers_of


def test_what_is_lent_is_the_users_own_connection(make_pool: Callable[..., ConnectionPool], mock: MockDatabase):
    pool = make_pool()
    conn = pool.acquire()
    assert conn.number == 1
    assert conn.is_open
    assert isinstance(conn, MockConnection)
    assert conn.execute("hello") == "1: hello"
    conn.remark = "mine"
    assert vars(mock.made[0])["remark"] == "mine"
    pool.release(conn)
    with pytest.raises(psycopg2.InterfaceError, match="given back"):
        conn.execute("too late")
    with pool.connection(timeout=1) as again:
        assert again.number == 1
        assert numbers_of(pool) == (1, 0, 1)
    assert numbers_of(pool) == (1, 1, 0)


def test_what_is_not_lent_is_refused(make_pool: Callable[..., ConnectionPool], mock: MockDatabase):
    pool, other = make_pool(), make_pool()
    conn = pool.acquire()
    with pytest.raises(NotLentError, match="it stays lent"):
        other.release(conn)
    with pytest.raises(NotLentError, match="never lent this MockConnection"):
        pool.release(mock.made[0])
    with pytest.raises(NotLentError):
        pool.release(None)
    pool.release(conn)
    with pool.connection() as again:
        with pytest.raises(RuntimeError, match="given back already"):
            pool.release(conn)
        assert again.execute("unharmed") == "1: unharmed"


def test_a_block_that_raises_gives_its_connection_back(make_pool: Callable[..., ConnectionPool]):
    pool = make_pool()
    with pytest.raises(KeyboardInterrupt), pool.connection():
        raise KeyboardInterrupt
    assert numbers_of(pool) == (1, 1, 0)


def test_closing_does_not_wait_and_what_is_out_is_closed_when_it_comes_back(
    make_pool: Callable[..., ConnectionPool], mock: MockDatabase, caplog: Any
):
    caplog.set_level("INFO", "dbkit.dropin")
    pool = make_pool(min_size=2, max_size=2)
    conn = pool.acquire()
    began = time.monotonic()
    pool.close()
    pool.close()
    assert time.monotonic() - began < 2  # the pool's own close() would wait five seconds, twice
    assert mock.open() == [conn.number]
    assert pool.get_stats()["closed"]
    assert numbers_of(pool) == (1, 0, 1)
    assert conn.execute("finishing") == f"{conn.number}: finishing"
    pool.release(conn)
    eventually(lambda: not mock.open() and numbers_of(pool) == (0, 0, 0))
    for borrow in (pool.acquire, pool.connection().__enter__):
        with pytest.raises(RuntimeError, match=r"^Connection pool is closed") as caught:
            borrow()
        assert isinstance(caught.value, ClosedError)
    assert [record.message for record in caplog.records if record.name == "dbkit.dropin"] == [
        "Initialized connection pool (min=2, max=2)",
        "Connection pool closed (1 connections still out)",
    ]


def test_those_that_wait_when_it_is_closed_are_told(make_pool: Callable[..., ConnectionPool]):
    pool = make_pool(max_size=1)
    conn = pool.acquire()
    waiter = Task(pool.acquire)
    in_line(pool._pool, 1)
    pool.close()
    with pytest.raises(ClosedError, match=r"^Connection pool is closed"):
        waiter.outcome()
    pool.release(conn)


@pytest.mark.parametrize("before", ["release", "close"])
def test_a_close_that_raises_harms_nothing(make_pool: Callable[..., ConnectionPool], mock: MockDatabase, before: str):
    def fail() -> None:
        raise RuntimeError("already closed, says the server")

    mock.closing = fail
    pool = make_pool(min_size=2)
    if before == "release":
        conn = pool.acquire()
        mock.made[conn.number - 1].healthy = False
        pool.release(conn)
        eventually(lambda: numbers_of(pool) == (2, 2, 0))
    conn = pool.acquire()
    closed = mock.made[conn.number - 1]
    conn.is_open = False  # its borrower closed it
    pool.release(conn)
    pool.release(pool.acquire())
    assert closed.closes == 0
    pool.close()
    eventually(lambda: numbers_of(pool) == (0, 0, 0))
    assert all(conn.closes <= 1 for conn in mock.made)
