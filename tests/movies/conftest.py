"""A migrated database for the shop, and a transaction around each test that is never committed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session, sessionmaker

from dbkit import DatabaseConnectionManager
from dbkit.embedded import EmbeddedPostgres
from dbkit.session.result import QueryResult
from dbkit.session.scopes import session_scope
from dbkit.settings import DatabaseSettings

from . import factories

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def shop_url(server: EmbeddedPostgres) -> str:
    """Return the URL of a migrated, empty database. Tests roll back what they do in it."""
    url = server.create_database("movies_shop")
    with DatabaseConnectionManager(url) as db:
        db.migrate("head")
    return url


@pytest.fixture
def fresh_db(database: str) -> Iterator[DatabaseConnectionManager]:
    """Return a manager on a database of the test's own, migrated: for what must really commit."""
    with DatabaseConnectionManager(DatabaseSettings.load(database, environ={}, env_file=None)) as db:
        db.sessions.configure(expire_on_commit=False)
        db.migrate("head")
        yield db


class RolledBack:
    """Stands in for the manager on one connection, inside a transaction that the test rolls back.

    Its commits release savepoints, so the shop's own code commits and rolls back as ever.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.sessions = sessionmaker(connection, join_transaction_mode="create_savepoint", expire_on_commit=False)

    def session_scope(self) -> AbstractContextManager[Session]:
        return session_scope(self.sessions)

    def execute_query(self, query: str, params: dict[str, Any] | None = None) -> QueryResult:
        with self._connection.begin_nested():
            result = self._connection.execute(text(query), params or {})
            if not result.returns_rows:
                return QueryResult((), (), result.rowcount)
            rows = result.all()
            return QueryResult(rows, result.keys(), len(rows))


@pytest.fixture(scope="session")
def shop_db(shop_url: str) -> Iterator[DatabaseConnectionManager]:
    with DatabaseConnectionManager(shop_url) as db:
        yield db


@pytest.fixture
def db(shop_db: DatabaseConnectionManager) -> Iterator[RolledBack]:
    """Return what the repositories take; the factories make their rows in the same transaction."""
    with shop_db.engine.connect() as connection, connection.begin() as transaction:
        rolled_back = RolledBack(connection)
        with rolled_back.sessions() as session:
            factories.current.session = session
            yield rolled_back
        factories.current.session = None
        transaction.rollback()


@pytest.fixture(scope="session")
def movies_json() -> Path:
    """Return the real file of movies, which is not part of the project."""
    given = os.environ.get("DBKIT_MOVIES_JSON")
    path = Path(given) if given else ROOT.parent / "shared" / "data" / "movies.json"
    if not path.is_file():
        pytest.skip("no movies.json: name it in DBKIT_MOVIES_JSON")
    return path
