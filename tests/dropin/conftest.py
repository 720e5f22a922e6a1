"""Fixtures for the drop-ins. The classes are state of the process: what a test leaves open is closed after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url

from dbkit.dropin import DatabaseConnectionPool, DatabasePool, PostgresqlConnection

from ..pool.helpers import Admin, unique


@pytest.fixture(autouse=True)
def _closed_after_the_test() -> Iterator[None]:
    yield
    DatabaseConnectionPool.close_all_connections()
    DatabasePool.close()
    PostgresqlConnection.close_all()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, where there is no developer's ``.env``."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def address(shared_database: str) -> dict[str, Any]:
    """Return the server's address as psycopg2's and ``DatabasePool.initialize``'s keyword arguments."""
    return address_of(shared_database)


def address_of(url: str) -> dict[str, Any]:
    """Return psycopg2's keyword arguments for a URL."""
    parts = make_url(url)
    return {
        "host": parts.host,
        "port": parts.port,
        "dbname": parts.database,
        "user": parts.username,
        "password": parts.password,
    }


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
def admin(shared_database: str) -> Iterator[Admin]:
    """Return a superuser's own connection, beside all pools."""
    found = Admin(shared_database)
    yield found
    found.close()


@pytest.fixture
def users_database(database: str) -> str:
    """Return the URL of a database with two ``users``."""
    execute(
        database,
        "CREATE TABLE users (id integer PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'Ada'), (2, 'Grace')",
    )
    return database


def execute(url: str, sql: str) -> None:
    """Execute and commit on a connection beside all pools."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()


def pool_of(module: Any) -> Any:
    """Return the pool that is open below a class that has one for the process."""
    assert module._pool._open is not None
    return module._pool._open[1].pool


def make_impatient(module: Any) -> None:
    """Have those who wait for its connections give up soon. Connecting was given its time."""
    pool = pool_of(module)
    pool.policy = replace(pool.policy, timeout=0.02)
