"""A migrated database for the shop, and a transaction around each test that is never committed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbkit import DatabaseConnectionManager
from dbkit.embedded import EmbeddedPostgres
from dbkit.settings import DatabaseSettings
from dbkit.testing import RolledBack

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def dbkit_server(server: EmbeddedPostgres) -> EmbeddedPostgres:
    """This run's server serves the fixtures of ``dbkit.testing``, too."""
    return server


@pytest.fixture
def fresh_db(database: str) -> Iterator[DatabaseConnectionManager]:
    """Return a manager on a database of the test's own, migrated: for what must really commit."""
    with DatabaseConnectionManager(DatabaseSettings.load(database, environ={}, env_file=None)) as db:
        db.sessions.configure(expire_on_commit=False)
        db.migrate("head")
        yield db


@pytest.fixture
def db(db_rolled_back: RolledBack) -> RolledBack:
    """Return what the repositories take; the factories make their rows in the same transaction."""
    return db_rolled_back


@pytest.fixture(scope="session")
def movies_json() -> Path:
    """Return the real file of movies, which is not part of the project."""
    given = os.environ.get("DBKIT_MOVIES_JSON")
    path = Path(given) if given else ROOT.parent / "shared" / "data" / "movies.json"
    if not path.is_file():
        pytest.skip("no movies.json: name it in DBKIT_MOVIES_JSON")
    return path
