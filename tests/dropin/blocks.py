"""Blocks of ``PostgresqlConnection`` that say a word in a table, and what was committed of it."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import pytest

from dbkit.dropin import postgresql_connection as module
from dbkit.dropin.postgresql_connection import PostgresqlConnection

from ..pool.helpers import Admin
from .common import pool_of

Saying = Generator[Any, None, None]


def in_use() -> int:
    """Return how many connections are out."""
    used: int = pool_of(module).stats().in_use
    return used


def say(conn: Any, table: str, word: str) -> None:
    """Say it in this connection's transaction."""
    with conn.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (%s)", (word,))


def words(admin: Admin, table: str) -> list[str]:
    """Return what was committed."""
    return sorted(word for (word,) in admin.rows(f"SELECT word FROM {table}"))


def saying(db: PostgresqlConnection, table: str, word: str) -> Saying:
    """A block that is open from the first step to the second."""
    with db as conn:
        say(conn, table, word)
        yield conn


def finish(generator: Saying) -> None:
    """Let the block end."""
    with contextlib.suppress(StopIteration):
        next(generator)
        pytest.fail("not finished")


def fail(generator: Saying) -> None:
    """Have the block raise."""
    with contextlib.suppress(ValueError):
        generator.throw(ValueError())
