"""The pool of ``DatabasePool`` from its making to its end, and what it refuses."""

from __future__ import annotations

from typing import Any

import psycopg2
import pytest
from psycopg2.pool import PoolError

from dbkit.dropin import AlreadyInitializedError, DatabasePool, NoConnectionError, NotInitializedError, NotLentError
from dbkit.dropin import database_pool as module
from dbkit.errors import SettingsError

from ..pool.helpers import Task, in_line
from .common import make_impatient, pool_of


def test_before_there_is_a_pool():
    assert not DatabasePool.is_initialized()
    for use in (DatabasePool.get_connection, lambda: DatabasePool.return_connection(object())):  # type: ignore[arg-type]
        with pytest.raises(NotInitializedError) as caught:
            use()
        assert str(caught.value) == "DatabasePool not initialized"
        assert isinstance(caught.value, RuntimeError)
        assert isinstance(caught.value, PoolError)


def test_a_second_initialize_raises_whatever_its_arguments(address: dict[str, Any]):
    DatabasePool.initialize(**address)
    for arguments in (address, {"port": "many"}):
        with pytest.raises(AlreadyInitializedError, match="DatabasePool already initialized"):
            DatabasePool.initialize(**arguments)
    DatabasePool.return_connection(DatabasePool.get_connection())
    DatabasePool.close()
    DatabasePool.initialize(**address)
    assert DatabasePool.is_initialized()


def test_the_minimum_is_open_at_once_and_the_maximum_holds(address: dict[str, Any]):
    DatabasePool.initialize(**address, min_connections=2, max_connections=3)
    assert pool_of(module).stats().size == 2
    conns = [DatabasePool.get_connection() for _ in range(3)]
    make_impatient(module)
    with pytest.raises(NoConnectionError, match="No connections available"):
        DatabasePool.get_connection()
    for conn in conns:
        DatabasePool.return_connection(conn)


def test_if_it_cannot_connect_there_is_no_pool(address: dict[str, Any]):
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        DatabasePool.initialize(**address | {"dbname": "no_such_database"})
    assert not DatabasePool.is_initialized()
    with pytest.raises(SettingsError, match=r"max_size=0 \(argument, max_conn"):
        DatabasePool.initialize(**address, min_connections=0, max_connections=0)
    assert not DatabasePool.is_initialized()
    DatabasePool.initialize(**address)
    assert DatabasePool.is_initialized()


def test_what_is_no_connection_of_its_own_is_refused(address: dict[str, Any]):
    DatabasePool.initialize(**address)
    stranger = psycopg2.connect(**address)
    conn = DatabasePool.get_connection()
    for wrong in (None, stranger, conn.cursor().connection):
        with pytest.raises(NotLentError, match="DatabasePool never lent this"):
            DatabasePool.return_connection(wrong)  # type: ignore[arg-type]
    assert not stranger.closed
    stranger.close()
    DatabasePool.return_connection(conn)
    with pytest.raises(NotLentError, match="given back already"):
        DatabasePool.return_connection(conn)
    assert pool_of(module).stats().in_use == 0


def test_closing_lets_those_that_wait_go(address: dict[str, Any]):
    DatabasePool.initialize(**address, min_connections=0, max_connections=1)
    conn = DatabasePool.get_connection()
    waiter = Task(DatabasePool.get_connection)
    in_line(pool_of(module), 1)
    DatabasePool.close()
    with pytest.raises(RuntimeError, match="Connection pool is closed"):
        waiter.outcome()
    DatabasePool.return_connection(conn)
