from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from dbkit import DatabaseConnectionManager


@pytest.fixture
def db(shared_database: str) -> Iterator[DatabaseConnectionManager]:
    """A manager on the shared database; whatever a test borrows has to be back at its end."""
    manager = DatabaseConnectionManager(shared_database, min_size=0, max_size=3, timeout=10)
    yield manager
    assert manager.close_connections() == ()


@pytest.fixture
def table(db: DatabaseConnectionManager) -> Iterator[str]:
    """An empty table (id integer primary key, name text)."""
    name = f"t_{uuid.uuid4().hex}"
    db.execute_query(f"CREATE TABLE {name} (id integer PRIMARY KEY, name text)")
    yield name
    db.execute_query(f"DROP TABLE {name}")


def terminate(db: DatabaseConnectionManager, pid: int) -> None:
    """End a session from another one, and wait until the server has no trace of it."""
    db.execute_query("SELECT pg_terminate_backend(:pid, 5000)", {"pid": pid})
