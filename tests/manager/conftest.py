from __future__ import annotations

from collections.abc import Iterator

import pytest

from dbkit import DatabaseConnectionManager


@pytest.fixture
def db(shared_database: str) -> Iterator[DatabaseConnectionManager]:
    """A manager on the shared database; whatever a test borrows has to be back at its end."""
    manager = DatabaseConnectionManager(shared_database, min_size=0, max_size=3, timeout=10)
    yield manager
    assert manager.close_connections() == ()


def terminate(db: DatabaseConnectionManager, pid: int) -> None:
    """End a session from another one, and wait until the server has no trace of it."""
    db.execute_query("SELECT pg_terminate_backend(:pid, 5000)", {"pid": pid})
