"""The pools that run the drills: ours, and the peers beside it, each used as its own documents say.

Eight connections, all kept, and the same deadline for a borrower. A turn is a transaction: borrow, one statement,
commit, give back. The peers get libpq's parameters as they are; what the manager makes of its settings is ours.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Final, Protocol

import psycopg2
from sqlalchemy import create_engine, text

from dbkit import DatabaseConnectionManager
from dbkit.embedded import EmbeddedPostgres

SIZE: Final = 8
"""Connections of each pool."""

NAME: Final = "drill"
"""Their ``application_name``."""

Params = Mapping[str, Any]


class Entrant(Protocol):
    """A pool in a drill. ``borrow`` returns a handle for the others; each raises what the pool raises."""

    name: str

    def attempts(self) -> int:
        """Return how many connects were begun."""

    def borrow(self) -> Any:
        """Take a connection out."""

    def driver_connection(self, handle: Any) -> Any:
        """Return the driver's connection."""

    def execute(self, handle: Any, sql: str) -> list[Any]:
        """Run one statement."""

    def commit(self, handle: Any) -> None:
        """Commit."""

    def give_back(self, handle: Any) -> None:
        """Give it back, whatever happened to it."""

    def close(self) -> None:
        """End the pool."""


def params_of(server: EmbeddedPostgres, **more: Any) -> dict[str, Any]:
    """libpq's parameters for a server's own database, and more of them."""
    login = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    return {**login, "dbname": "postgres", "application_name": NAME, **more}


def make_manager(params: Params, *, timeout: float, **options: Any) -> DatabaseConnectionManager:
    """Our manager with the drills' size, on libpq's parameters.

    Args:
        params: where to.
        timeout: seconds a borrower waits.
        **options: the manager's own.
    """
    numbers = {"min_size": SIZE, "max_size": SIZE} | options
    return DatabaseConnectionManager(dict(params), timeout=timeout, **numbers)


class Ours:
    """ElasticPool below our manager.

    Args:
        db: the manager; closed with this.
    """

    name = "ElasticPool"

    def __init__(self, db: DatabaseConnectionManager) -> None:
        self.db = db
        self.pool = db.pool

    def attempts(self) -> int:
        stats = self.pool.stats()
        return stats.opens + stats.open_failures

    def borrow(self) -> Any:
        return self.db.engine.connect()

    def driver_connection(self, handle: Any) -> Any:
        return handle.connection.driver_connection

    def execute(self, handle: Any, sql: str) -> list[Any]:
        result = handle.exec_driver_sql(sql)
        return list(result) if result.returns_rows else []

    def commit(self, handle: Any) -> None:
        handle.commit()

    def give_back(self, handle: Any) -> None:
        handle.close()

    def close(self) -> None:
        self.db.close_connections()


class OurSessions(Ours):
    """The same by way of ``session_scope``, which tells a commit of unknown outcome from an error."""

    def borrow(self) -> Any:
        scope = self.db.session_scope()
        session = scope.__enter__()
        try:
            session.connection()
        except BaseException as error:
            scope.__exit__(type(error), error, error.__traceback__)
            raise
        return [scope, session]

    def driver_connection(self, handle: Any) -> Any:
        return super().driver_connection(handle[1].connection())

    def execute(self, handle: Any, sql: str) -> list[Any]:
        result = handle[1].execute(text(sql))
        return list(result) if result.returns_rows else []

    def commit(self, handle: Any) -> None:
        scope, handle[0] = handle[0], None
        scope.__exit__(None, None, None)

    def give_back(self, handle: Any) -> None:
        if handle[0] is not None:
            handle[1].rollback()
            handle[0].__exit__(None, None, None)


class Queue(Ours):
    """SQLAlchemy's QueuePool; with or without ``pool_pre_ping``."""

    def __init__(self, params: Params, *, timeout: float, pre_ping: bool, size: int = SIZE) -> None:
        self.name = "QueuePool pre_ping" if pre_ping else "QueuePool"
        self._begun = itertools.count()
        self.engine = create_engine(
            "postgresql+psycopg2://",
            creator=lambda: (next(self._begun), psycopg2.connect(**params))[1],
            pool_size=size,
            max_overflow=0,
            pool_timeout=timeout,
            pool_pre_ping=pre_ping,
        )

    def attempts(self) -> int:
        return int(repr(self._begun)[6:-1])

    def borrow(self) -> Any:
        return self.engine.connect()

    def close(self) -> None:
        self.engine.dispose()


class PsycopgPool:
    """psycopg_pool's ConnectionPool, without a check on borrowing, as it comes."""

    name = "psycopg_pool"

    def __init__(self, params: Params, *, timeout: float, size: int = SIZE, max_waiting: int = 0) -> None:
        import psycopg
        from psycopg_pool import ConnectionPool

        logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # it tells of each failed attempt
        self._begun = begun = itertools.count()

        class Counted(psycopg.Connection[Any]):
            @classmethod
            def connect(cls, conninfo: str = "", **options: Any) -> Any:
                next(begun)
                return super().connect(conninfo, **options)

        self.pool = ConnectionPool(
            kwargs=dict(params),
            connection_class=Counted,
            min_size=size,
            max_size=size,
            timeout=timeout,
            max_waiting=max_waiting,
            open=True,
        )

    def attempts(self) -> int:
        return int(repr(self._begun)[6:-1])

    def borrow(self) -> Any:
        return self.pool.getconn()

    def driver_connection(self, handle: Any) -> Any:
        return handle

    def execute(self, handle: Any, sql: str) -> list[Any]:
        cursor = handle.execute(sql)
        return list(cursor) if cursor.description else []

    def commit(self, handle: Any) -> None:
        handle.commit()

    def give_back(self, handle: Any) -> None:
        self.pool.putconn(handle)

    def close(self) -> None:
        self.pool.close(0)


def turn(entrant: Entrant, sql: str = "SELECT 1") -> None:
    """Borrow, execute, give back."""
    handle = entrant.borrow()
    try:
        entrant.execute(handle, sql)
        entrant.commit(handle)
    finally:
        entrant.give_back(handle)


def fill(entrant: Entrant) -> None:
    """Have every connection open and idle."""
    handles = [entrant.borrow() for _ in range(SIZE)]
    for handle in handles:
        entrant.execute(handle, "SELECT 1")
        entrant.commit(handle)
        entrant.give_back(handle)


def peers(params: Params, *, timeout: float) -> list[Callable[[], Entrant]]:
    """What makes each peer, on the same parameters; those that are installed."""
    made: list[Callable[[], Entrant]] = [
        lambda: Queue(params, timeout=timeout, pre_ping=False),
        lambda: Queue(params, timeout=timeout, pre_ping=True),
    ]
    if find_spec("psycopg_pool"):
        made.append(lambda: PsycopgPool(params, timeout=timeout))
    return made
