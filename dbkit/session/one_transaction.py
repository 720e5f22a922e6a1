"""One transaction for work of several statements, also on an engine whose connections are in autocommit mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dbkit.drivers import for_dialect
from dbkit.session.deadlines import time_left, watch
from dbkit.session.limits import impose_limits, is_limited

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


def let_go_if_cut_off(connection: Connection, raw: Any, error: BaseException) -> None:
    """Invalidate a connection that a cancellation struck in the midst of a statement: a rollback would fail, and its
    error take the place of the cancellation.

    Args:
        connection: SQLAlchemy's, on an event loop; on threads nothing is done.
        raw: the pool's connection in it.
        error: what the block raised.
    """
    if not connection.dialect.is_async or isinstance(error, Exception) or connection.invalidated:
        return
    if for_dialect(connection.dialect).is_cut_off(raw):
        connection.invalidate()


@contextmanager
def one_transaction(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction: committed at the end of the block, or rolled back if it raises anything at all.

    As ``engine.begin()``; but an engine in AUTOCOMMIT would commit each statement by itself there, so that an error
    half-way would leave half of the work. Here it works at the server's default level instead, for this block. The
    engine's streaming options have no say here either. The time of ``db.deadline`` bounds each statement.

    Args:
        engine: whose pool to borrow from. The connection goes back as it came.

    Raises:
        sqlalchemy.exc.OperationalError: the connection could not be opened.
        PoolTimeoutError: no connection could be had in time.
        DeadlineExceeded: the time of ``db.deadline`` is over.
    """
    with engine.connect() as connection:
        connection.execution_options(stream_results=False, yield_per=None)
        raw: Any = connection.connection.dbapi_connection
        if for_dialect(engine.dialect).has_autocommit and raw.autocommit:
            dialect: Any = engine.dialect  # of a server, so it has a default
            connection.execution_options(isolation_level=dialect.default_isolation_level)
        with connection.begin():
            impose_limits(connection)
            if not is_limited() and (left := time_left()) is not None:
                watch(connection, given=left, otherwise=None)
            try:
                yield connection
            except BaseException as error:
                meant = for_dialect(engine.dialect).cancellation_behind(error)
                let_go_if_cut_off(connection, raw, meant)
                if meant is not error:
                    raise meant from None
                raise
