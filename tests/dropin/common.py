"""What the tests of the drop-ins share: addresses, what is read over a connection, and the pools below the classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from psycopg2.extras import RealDictCursor
from sqlalchemy import make_url

from dbkit import DatabaseSettings
from dbkit.dropin import DatabaseConnectionPool
from dbkit.dropin.loans import Loans
from dbkit.dropin.unwrap import lend_from, plain_manager

from ..pool.helpers import Admin, unique

CANARY = "s3cr3t-canary"
"""A password, and a wrong one, that must show nowhere."""


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


@contextmanager
def address_with_limit(admin: Admin, address: dict[str, Any], limit: int) -> Iterator[dict[str, Any]]:
    """The same address for a role of its own, which may have so many connections at once."""
    role = unique("limited")
    admin.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'limited' CONNECTION LIMIT {limit}")
    try:
        yield {**address, "user": role, "password": "limited"}
    finally:
        admin.rows(f"DROP ROLE {role}")


def execute(url: str, sql: str) -> None:
    """Execute and commit on a connection beside all pools."""
    with closing(Admin(url)) as admin:
        admin.rows(sql)


def value(connection: Any, query: str) -> Any:
    """Return the one value that a query finds over a DB-API connection."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def names_of_users() -> list[str]:
    """Return the users' names, as ``DatabaseConnectionPool``'s document reads them."""
    conn = DatabaseConnectionPool.get_connection()
    try:
        cursor = conn.cursor(cursor_factory=RealDictCursor)
        cursor.execute("SELECT * FROM users ORDER BY id")
        return [row["name"] for row in cursor.fetchall()]
    finally:
        DatabaseConnectionPool.put_connection(conn)


def pool_of(module: Any) -> Any:
    """Return the pool that is open below a class that has one for the process."""
    assert module._pool._open is not None
    return module._pool._open[1].pool


def make_impatient(module: Any) -> None:
    """Have those who wait for its connections give up soon. Connecting was given its time."""
    pool = pool_of(module)
    pool.policy = replace(pool.policy, timeout=0.02)


@contextmanager
def lending(url: str, label: str = "a pool", **numbers: Any) -> Iterator[Loans]:
    """Loans from a pool of up to two connections, unless the settings in ``numbers`` say otherwise."""
    numbers = {"min_size": 0, "max_size": 2, "timeout": 10, **numbers}
    manager = plain_manager(DatabaseSettings.load(url, env_file=None, **numbers))
    try:
        yield lend_from(manager, label)
    finally:
        manager.close_connections(timeout=0)
