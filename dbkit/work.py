"""Queries, sessions and transactions on one engine: all that an application does through a manager. Only delegates."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from dbkit.session import deadlines as _deadlines
from dbkit.session import query as _query
from dbkit.session import scope_settings as _scope_settings
from dbkit.session import scopes as _session
from dbkit.session import transactions as _transactions

if TYPE_CHECKING:
    import psycopg2.extensions
    from sqlalchemy import Engine, Executable, Table
    from sqlalchemy.orm import Session

    from dbkit.runtime.deadlines import Deadline
    from dbkit.session.batches import Progress
    from dbkit.session.query import Params
    from dbkit.session.result import QueryResult
    from dbkit.session.scope_settings import Value
    from dbkit.session.stream import RowStream
    from dbkit.session.tags import Tags

T = TypeVar("T")
P = ParamSpec("P")


class Work:
    """The working side of ``DatabaseConnectionManager``. Thread-safe.

    Args:
        engine: whose pool everything borrows from.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions = _session.make_sessions(engine)

    @property
    def session_class(self) -> type[Session]:
        """The class of its sessions, which carries what ``settings_for`` and ``deadline`` do at each transaction."""
        return self._sessions.class_

    def configure_sessions(self, **options: Any) -> None:
        """Set options of the sessions made from now on, as ``sessionmaker.configure`` does."""
        self._sessions.configure(**options)

    def execute_query(
        self,
        query: str | Executable,
        params: Params = None,
        *,
        timeout: float | None = None,
        read_only: bool = False,
        tags: Tags = None,
    ) -> QueryResult:
        """Execute one statement, commit it, and return all its rows. See ``dbkit.session.query.execute_query``.

        Args:
            query: SQL text, never formatted, or any SQLAlchemy executable, or a template string (Python 3.14).
            params: a mapping binds ``:name``, a sequence binds the driver's ``%s``; a list of mappings executes the
                statement once for each, all or nothing.
            timeout: seconds the statement may take on the server; None for no limit. In a transaction then.
            read_only: the server refuses to write. In a transaction then.
            tags: where the statement comes from (``controller``, ``route``, ``traceparent``), as a comment behind it.

        Raises:
            sqlalchemy.exc.DBAPIError: the database refused (``IntegrityError``, ``ProgrammingError``, ...).
            ResultUnreadableError: the statement is committed; only its answer could not be read.
            PoolTimeoutError: no connection could be had in time.
            PoolClosedError: after ``close_connections()``.
        """
        return _query.execute_query(self._engine, query, params, timeout=timeout, read_only=read_only, tags=tags)

    def query_file(self, path: str | os.PathLike[str], params: Params = None, *, tags: Tags = None) -> QueryResult:
        """Execute the SQL text in a file, as ``execute_query`` does. See ``dbkit.session.query_file``."""
        from dbkit.session.query_file import query_file

        return query_file(self._engine, path, params, tags=tags)

    def execute_many(
        self,
        query: str | Executable,
        rows: Iterable[Mapping[str, Any] | Sequence[Any]],
        *,
        batch: int = 1000,
        tags: Tags = None,
    ) -> int:
        """Execute one statement for each row of any iterable, all or nothing. See ``dbkit.session.many.execute_many``.

        Returns:
            How many rows were changed in all; -1 where the driver cannot say.
        """
        from dbkit.session.many import execute_many

        return execute_many(self._engine, query, rows, batch=batch, tags=tags)

    def stream_query(
        self, query: str | Executable, params: Params = None, *, chunk: int = 1000, tags: Tags = None
    ) -> RowStream:
        """The rows of a query, ``chunk`` of them in memory at a time. See ``dbkit.session.stream.stream_query``.

        Iterate it, or use it in a ``with`` block; the connection goes back at its end, also where that is half-way.
        """
        from dbkit.session.stream import stream_query

        return stream_query(self._engine, query, params, chunk=chunk, tags=tags)

    def copy_rows(
        self,
        table: str | Sequence[str] | Table | type,
        rows: Iterable[Mapping[str, Any] | Sequence[Any]],
        *,
        columns: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Add rows of any iterable to a table over COPY, all or nothing. See ``dbkit.session.copying.copy_rows``.

        Returns:
            How many rows the server took.
        """
        from dbkit.session.copying import copy_rows

        return copy_rows(self._engine, table, rows, columns=columns, progress=progress)

    def upsert_rows(
        self,
        table: str | Sequence[str] | Table | type,
        rows: Iterable[Mapping[str, Any] | Sequence[Any]],
        *,
        key: str | Sequence[str],
        columns: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Add rows, or change those with the same key, all or nothing. See ``dbkit.session.copying.upsert_rows``.

        Returns:
            How many rows were added or changed.
        """
        from dbkit.session.copying import upsert_rows

        return upsert_rows(self._engine, table, rows, key=key, columns=columns, progress=progress)

    def session_scope(
        self,
        *,
        read_only: bool = False,
        isolation_level: str | None = None,
        timeout: float | None = None,
        settings: Mapping[str, Value] | None = None,
        nested: bool = False,
    ) -> AbstractContextManager[Session]:
        """A session for the length of a block: committed, or rolled back if it raises. See ``dbkit.session.scopes``.

        Args:
            read_only: the server refuses to write.
            isolation_level: ``"REPEATABLE READ"``, ``"SERIALIZABLE"``, ...; None for the engine's.
            timeout: seconds that each statement, and each wait for a lock, may take.
            settings: settings of the server for this scope alone, by name.
            nested: join the scope that this one is in as a savepoint; else it is a transaction of its own.
        """
        return _session.session_scope(
            self._sessions,
            read_only=read_only,
            isolation_level=isolation_level,
            timeout=timeout,
            settings=settings,
            nested=nested,
        )

    def settings_for(self, provide: Callable[[], Mapping[str, Value]] | None) -> None:
        """Ask a function for the server's settings whenever a transaction of a session begins: the tenant, the role.

        Holds for ``session_scope``, ``run_in_transaction`` and ``sessions``; not for ``execute_query``,
        ``raw_connection`` and the engine.

        Args:
            provide: called without arguments, in the borrower's context variables; None for no settings any more.
        """
        _scope_settings.settings_for(self._sessions, provide)

    def run_in_transaction(
        self,
        fn: Callable[[Session], T],
        *,
        retries: int = 5,
        isolation_level: str | None = None,
        read_only: bool = False,
        timeout: float | None = None,
        is_committed: Callable[[Session], bool] | None = None,
    ) -> T:
        """Run ``fn(session)`` and commit; run it again after a conflict. See ``dbkit.session.transactions``.

        Args:
            fn: does the work; all of it, once for each attempt.
            retries: how many further attempts there may be.
            isolation_level, read_only: as for ``session_scope``.
            timeout: seconds for all attempts together.
            is_committed: finds out whether an attempt took effect whose connection was lost at ``COMMIT``.

        Raises:
            CommitOutcomeUnknown: the connection was lost at ``COMMIT``, and there is no ``is_committed``.
            DeadlineExceeded: ``timeout`` is over.
            whatever the last attempt raised.
        """
        return _transactions.run_in_transaction(
            self._sessions,
            fn,
            retries=retries,
            isolation_level=isolation_level,
            read_only=read_only,
            timeout=timeout,
            is_committed=is_committed,
        )

    def transactional(
        self,
        *,
        retries: int = 5,
        isolation_level: str | None = None,
        read_only: bool = False,
        timeout: float | None = None,
        is_committed: Callable[[Session], bool] | None = None,
    ) -> Callable[[Callable[Concatenate[Session, P], T]], Callable[P, T]]:
        """A decorator for functions whose first parameter is a session: a call gives the others.

        ::

            @db.transactional(isolation_level="SERIALIZABLE")
            def transfer(session, source, target, amount): ...


            transfer(1, 2, Decimal(10))

        Args:
            retries, isolation_level, read_only, timeout, is_committed: as for ``run_in_transaction``.
        """
        return _transactions.transactional(
            self._sessions,
            retries=retries,
            isolation_level=isolation_level,
            read_only=read_only,
            timeout=timeout,
            is_committed=is_committed,
        )

    def deadline(self, seconds: float) -> AbstractContextManager[Deadline]:
        """Bound all that a block asks: waiting, connecting and statements. See ``dbkit.session.deadlines``.

        Args:
            seconds: from now on. A deadline within a deadline holds as far as it is the earlier one.

        Raises:
            DeadlineExceeded: the time is over; it says where it went.
        """
        return _deadlines.deadline(seconds)

    def raw_connection(self) -> AbstractContextManager[psycopg2.extensions.connection]:
        """The psycopg2 connection for a block: committed, or rolled back if it raises. See ``dbkit.session.scopes``."""
        return _session.raw_connection(self._engine)
