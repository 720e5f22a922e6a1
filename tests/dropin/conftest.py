"""Fixtures for the drop-ins. The classes are state of the process: what a test leaves open is closed after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dbkit.dropin import DatabaseConnectionPool, DatabasePool, PostgresqlConnection, postgresql_connection
from dbkit.dropin.connection_pool import ConnectionPool
from dbkit.dropin.loans import Loans

from ..pool.helpers import Admin, eventually, unique
from .common import address_of, execute, lending
from .mock_database import MockDatabase


@pytest.fixture(autouse=True)
def _closed_after_the_test() -> Iterator[None]:
    yield
    DatabaseConnectionPool.close_all_connections()
    DatabasePool.close()
    PostgresqlConnection.close_all()
    assert not postgresql_connection._here.begun_by_hand


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, where there is no developer's ``.env``."""
    monkeypatch.chdir(tmp_path)


# ---- servers, and where they are


@pytest.fixture
def address(shared_database: str) -> dict[str, Any]:
    """Return the server's address as psycopg2's and ``DatabasePool.initialize``'s keyword arguments."""
    return address_of(shared_database)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that sets the ``DB_*`` variables for an address, and returns the application's name there."""

    def use(address: dict[str, Any], **variables: object) -> str:
        name = unique("dropin")
        for key, value in {**address, "application_name": name, **variables}.items():
            monkeypatch.setenv(f"DB_{key.upper()}", str(value))
        return name

    return use


@pytest.fixture
def users_database(database: str) -> str:
    """Return the URL of a database with two ``users``."""
    execute(
        database,
        "CREATE TABLE users (id integer PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'Ada'), (2, 'Grace')",
    )
    return database


@pytest.fixture
def app_address(users_database: str) -> dict[str, Any]:
    """Return the address of a database with users, movies and orders."""
    execute(
        users_database,
        "CREATE TABLE movies AS SELECT 1 AS id, 'Metropolis' AS title; CREATE TABLE orders AS SELECT 1 AS id",
    )
    return address_of(users_database)


@pytest.fixture
def table(admin: Admin) -> Iterator[str]:
    """Return the name of an empty table (word text)."""
    name = unique("words")
    admin.rows(f"CREATE TABLE {name} (word text)")
    yield name
    admin.rows(f"DROP TABLE {name}")


# ---- what lends


@pytest.fixture
def loans(shared_database: str) -> Iterator[Loans]:
    """Return the loans of a pool of up to two connections; at its end all must be back."""
    with lending(shared_database) as made:
        yield made
        eventually(lambda: made.pool.stats().in_use == 0)  # whatever is refused, nothing is lost


@pytest.fixture
def db(environment: Callable[..., str], address: dict[str, Any]) -> PostgresqlConnection:
    """Return the object on the shared database, with a pool of up to four connections."""
    environment(address, max_conn=4, timeout=60)
    return PostgresqlConnection()


@pytest.fixture
def mock() -> MockDatabase:
    """Return a database that makes mock connections."""
    return MockDatabase()


@pytest.fixture
def make_pool(mock: MockDatabase) -> Iterator[Callable[..., ConnectionPool]]:
    """Return what makes pools on ``mock``; at the end they are closed, and nothing of theirs may be open."""
    pools: list[ConnectionPool] = []

    def make(**arguments: Any) -> ConnectionPool:
        pools.append(ConnectionPool(mock, **{"min_size": 0, "max_size": 2, "timeout": 10, **arguments}))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()
    eventually(lambda: not mock.open())
