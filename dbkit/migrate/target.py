"""The target of a migration: an engine, or an object that has one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from dbkit.pool.elastic import ElasticPool
from dbkit.pool.errors import LineFullError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_PAUSE = 0.1
"""Seconds between two tries to get into a line that is full."""


class HasEngine(Protocol):
    """A ``DatabaseConnectionManager``, or anything else with an engine."""

    @property
    def engine(self) -> Engine: ...


@runtime_checkable
class HasMigrationEngine(Protocol):
    """A ``DatabaseConnectionManager``, which may have another engine for migrations."""

    def migration_engine(self) -> AbstractContextManager[Engine]: ...


@contextmanager
def engine_for_migrations(database: Engine | HasEngine) -> Iterator[Engine]:
    """The engine to migrate with, for the length of the block: the one of ``DB_MIGRATION_URL`` where that is set."""
    from sqlalchemy import Engine

    if isinstance(database, Engine):
        yield database
    elif isinstance(database, HasMigrationEngine):
        with database.migration_engine() as engine:
            yield engine
    else:
        yield database.engine


@contextmanager
def reserved(engine: Engine, timeout: float) -> Iterator[Connection]:
    """A connection of the engine's pool, also where the pool is busy: it waits as long as the migration may.

    The pool's own ``timeout`` is for requests; a migration may well wait longer. A line that is full
    (``max_waiting``) is no refusal either.

    Args:
        engine: whose pool lends the connection.
        timeout: seconds to wait at most; an engine on another pool than ``ElasticPool`` waits as it always does.

    Raises:
        PoolTimeoutError: no connection came back in time.
        LineFullError: the line was full all the time.
    """
    pool = engine.pool
    if not isinstance(pool, ElasticPool):
        with engine.connect() as connection:
            yield connection
        return
    deadline = time.monotonic() + max(timeout, pool.policy.timeout)
    while True:
        left = deadline - time.monotonic()
        try:
            with pool.patience(max(left, 0.0)):
                connection = engine.connect()
        except LineFullError:
            if left <= _PAUSE:
                raise
            time.sleep(_PAUSE)
        else:
            break
    with connection:
        yield connection
