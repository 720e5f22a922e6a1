from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dbkit import DatabaseConnectionManager


@pytest.fixture(params=["psycopg2", "psycopg"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each driver that the manager speaks."""
    name: str = request.param
    return name


@pytest.fixture
def managers(shared_database: str) -> Iterator[Callable[..., DatabaseConnectionManager]]:
    """Makes managers on the shared database; whatever a test borrows has to be back at its end."""
    made: list[DatabaseConnectionManager] = []

    def make(driver: str = "psycopg2", url: str = shared_database, **given: Any) -> DatabaseConnectionManager:
        numbers = {"min_size": 0, "max_size": 1, "timeout": 60, "keepalive": None, **given}
        details = url.replace("postgresql://", f"postgresql+{driver}://")
        made.append(DatabaseConnectionManager(details, **numbers))
        return made[-1]

    yield make
    for manager in made:
        assert manager.close_connections() == ()


@pytest.fixture
def db(managers: Callable[..., DatabaseConnectionManager], driver: str) -> DatabaseConnectionManager:
    """A manager with a single connection, so that the next borrower has the one that the last one had."""
    return managers(driver)
