"""One transaction around a test, which is never committed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from dbkit.session.result import QueryResult
from dbkit.session.scopes import session_scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Engine, Executable


class RolledBack:
    """Stands in for a manager on one connection, inside a transaction that is rolled back.

    Commits release savepoints, so the code under test commits and rolls back as ever. Belongs to one thread: all its
    sessions are on one connection.

    Attributes:
        sessions: makes sessions in the transaction. Objects are not expired by a commit.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.sessions: sessionmaker[Session] = sessionmaker(
            connection, join_transaction_mode="create_savepoint", expire_on_commit=False
        )

    def session_scope(self) -> AbstractContextManager[Session]:
        """A session for the length of a block, as ``DatabaseConnectionManager.session_scope``."""
        return session_scope(self.sessions)

    def execute_query(self, query: str | Executable, params: Mapping[str, Any] | None = None) -> QueryResult:
        """Execute one statement, as ``DatabaseConnectionManager.execute_query``; a failure undoes only itself.

        Args:
            query: SQL text with ``:name``, or any SQLAlchemy executable.
            params: what is bound.
        """
        statement = text(query) if isinstance(query, str) else query
        with self._connection.begin_nested():
            result = self._connection.execute(statement, dict(params or {}))
            if not result.returns_rows:
                return QueryResult((), (), result.rowcount)
            rows = result.all()
            return QueryResult(rows, result.keys(), len(rows))


@contextmanager
def rolled_back(engine: Engine) -> Iterator[RolledBack]:
    """A stand-in for a manager for the length of a block, at whose end all is rolled back.

    ``ModelFactory`` makes its rows in the same transaction.
    """
    with engine.connect() as connection:
        transaction = connection.begin()
        try:
            stand_in = RolledBack(connection)
            with stand_in.sessions() as session, current.bound(session):
                yield stand_in
        finally:
            transaction.rollback()


class Current:
    """The session in which factories make their rows."""

    def __init__(self) -> None:
        self._session: Session | None = None

    def __call__(self) -> Session:
        """The session of the test that runs.

        Raises:
            RuntimeError: the test asked for none.
        """
        if self._session is None:
            raise RuntimeError("a ModelFactory needs a session: ask for the fixture db_session or db_rolled_back")
        return self._session

    @contextmanager
    def bound(self, session: Session) -> Iterator[None]:
        """Make factories use this session for the length of the block."""
        before, self._session = self._session, session
        try:
            yield
        finally:
            self._session = before


current = Current()
