"""The pool of ``DatabaseConnectionPool`` from its making to its end, and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from dbkit.dropin import (
    AlreadyInitializedError,
    DatabaseConnectionPool,
    DatabasePool,
    NotInitializedError,
    NotLentError,
)
from dbkit.dropin import database_connection_pool as module

from ..pool.helpers import Admin, Task, eventually, in_line
from .common import address_with_limit, pool_of


def test_a_second_initialize_raises_and_the_first_pool_stays(environment: Callable[..., str], address: dict[str, Any]):
    environment(address)
    DatabaseConnectionPool.initialize_pool(1, 2)
    conn = DatabaseConnectionPool.get_connection()
    with pytest.raises(AlreadyInitializedError) as caught:
        DatabaseConnectionPool.initialize_pool(1, 2)
    assert str(caught.value) == "Connection pool is already initialized"
    assert isinstance(caught.value, RuntimeError)
    conn.cursor().execute("SELECT 1")
    DatabaseConnectionPool.put_connection(conn)


def test_before_there_is_a_pool():
    with pytest.raises(NotInitializedError) as caught:
        DatabaseConnectionPool.get_connection()
    assert str(caught.value) == "Database connection pool is not initialized"
    with pytest.raises(NotInitializedError):
        DatabaseConnectionPool.put_connection(object())  # type: ignore[arg-type]
    DatabaseConnectionPool.close_all_connections()


@pytest.mark.parametrize("there_is_a_pool", [True, False])
def test_none_is_no_connection(environment: Callable[..., str], address: dict[str, Any], there_is_a_pool: bool):
    if there_is_a_pool:
        environment(address)
        DatabaseConnectionPool.initialize_pool(1, 2)
    with pytest.raises(NotLentError) as caught:
        DatabaseConnectionPool.put_connection(None)
    assert str(caught.value) == "No connection provided"


def test_after_its_end_it_can_be_initialized_again(
    environment: Callable[..., str], address: dict[str, Any], admin: Admin
):
    for number in range(3):
        name = environment(address)
        DatabaseConnectionPool.initialize_pool(number, 3)
        assert len(admin.pids(name)) == number
        DatabaseConnectionPool.put_connection(DatabaseConnectionPool.get_connection())
        DatabaseConnectionPool.close_all_connections()
        DatabaseConnectionPool.close_all_connections()
        eventually(lambda name=name: not admin.pids(name))


@pytest.mark.parametrize("another", [True, False])
def test_what_is_out_when_it_is_closed_may_come_back(
    environment: Callable[..., str], address: dict[str, Any], admin: Admin, another: bool
):
    name = environment(address)
    DatabaseConnectionPool.initialize_pool(2, 2)
    conn = DatabaseConnectionPool.get_connection()
    DatabaseConnectionPool.close_all_connections()
    eventually(lambda: admin.pids(name) == {conn.get_backend_pid()})
    conn.cursor().execute("SELECT 1")  # its holder may finish
    if another:
        environment(address)
        DatabaseConnectionPool.initialize_pool(1, 1)
    DatabaseConnectionPool.put_connection(conn)
    eventually(lambda: not admin.pids(name))
    with pytest.raises(NotLentError, match="given back already"):
        DatabaseConnectionPool.put_connection(conn)
    if another:
        assert pool_of(module).stats().size == 1


def test_if_one_connection_cannot_be_opened_there_is_no_pool(
    environment: Callable[..., str], address: dict[str, Any], admin: Admin
):
    with address_with_limit(admin, address, 2) as limited:
        name = environment(limited, reconnect_timeout=0)
        with pytest.raises(psycopg2.OperationalError, match="too many connections for role"):
            DatabaseConnectionPool.initialize_pool(3, 3)
        eventually(lambda: not admin.pids(name))
        with pytest.raises(NotInitializedError):
            DatabaseConnectionPool.get_connection()
        # the server counts sessions a moment longer than it shows them
        admin.rows(f"ALTER ROLE {limited['user']} CONNECTION LIMIT 9")
        DatabaseConnectionPool.initialize_pool(2, 3)
        DatabaseConnectionPool.close_all_connections()
        eventually(lambda: not admin.pids(name))


def test_each_class_refuses_the_others_connections(environment: Callable[..., str], address: dict[str, Any]):
    environment(address)
    DatabaseConnectionPool.initialize_pool(1, 2)
    DatabasePool.initialize(**address)
    conn = DatabasePool.get_connection()
    with pytest.raises(NotLentError, match="not DatabaseConnectionPool's but DatabasePool's"):
        DatabaseConnectionPool.put_connection(conn)
    conn.cursor().execute("SELECT 1")
    DatabasePool.return_connection(conn)


def test_a_full_pool_waits_for_a_connection(environment: Callable[..., str], address: dict[str, Any]):
    environment(address)
    DatabaseConnectionPool.initialize_pool(1, 1)
    conn = DatabaseConnectionPool.get_connection()
    waiter = Task(DatabaseConnectionPool.get_connection)
    in_line(pool_of(module), 1)
    DatabaseConnectionPool.put_connection(conn)
    DatabaseConnectionPool.put_connection(waiter.outcome())
