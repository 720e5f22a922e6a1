"""``stream_query``: rows from a cursor at the server, a chunk at a time; memory does not grow with the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Executable, exc, text

from dbkit.drivers import for_dialect
from dbkit.drivers.bounded import run_bounded
from dbkit.session.many import tag
from dbkit.session.one_transaction import one_transaction
from dbkit.session.placeholders import for_driver
from dbkit.session.query import positional, template
from dbkit.session.tags import comment
from dbkit.session.templates import is_template

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

    from sqlalchemy import Connection, CursorResult, Engine, Row

    from dbkit.session.query import Params
    from dbkit.session.tags import Tags

CHUNK = 1000
"""Rows that are fetched, and held in memory, at a time."""
_SYNTAX_ERROR = "42601"


class RowStream(Iterator["Row[Any]"]):
    """The rows of a query, as they come. Iterate it once, in one thread at a time.

    The connection is borrowed at the first row, not before, and given back after the last one, by ``close()``, at the
    end of a ``with`` block, after an error, and when the stream is dropped half-way.

    ::

        with db.stream_query("SELECT * FROM events") as events:
            for event in events:
                ...
    """

    def __init__(self, rows: Generator[Row[Any], None, None]) -> None:
        self._rows = rows

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Row[Any]:
        return next(self._rows)

    def close(self) -> None:
        """Give the connection back now. Rows not read yet are not fetched. May be called again."""
        self._rows.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def stream_query(
    engine: Engine, query: str | Executable, params: Params = None, *, chunk: int = CHUNK, tags: Tags = None
) -> RowStream:
    """The rows of a query from a cursor at the server: ``chunk`` of them in memory, however many there are.

    Args:
        engine: where to.
        query: SQL text, a template string or any SQLAlchemy executable, that begins with ``SELECT``, ``VALUES`` or
            ``WITH``: the server opens a cursor for nothing else.
        params: as for ``execute_query``, but for a list of mappings.
        chunk: rows that are fetched, and held in memory, at a time.
        tags: see ``execute_query``.

    Returns:
        A ``RowStream``.

    Raises:
        sqlalchemy.exc.ArgumentError: an argument is of no type described above; at once.
        sqlalchemy.exc.DBAPIError: the database refused; when the rows are read, as all that follows.
        PoolTimeoutError: no connection could be had in time.

    The rows come out of one transaction, so they fit together, and it stays open until the stream ends: do not keep one
    open for longer than it takes to read it. The transaction is committed after the last row (the query may have called
    a function that writes), and rolled back if the stream ends before.
    """
    made = comment(tags)
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise exc.ArgumentError(f"chunk must be a number of rows, 1 or more, not {chunk!r}")
    if is_template(query):
        query, params = template(query, params)
        params = params or None
    if not isinstance(query, str | Executable):
        raise exc.ArgumentError(f"query must be SQL text or a SQLAlchemy executable, not {type(query).__name__}")
    if params is not None and not isinstance(params, Mapping):
        if not isinstance(query, str):
            raise exc.ArgumentError(
                f"a SQLAlchemy executable takes a mapping of parameters, not {type(params).__name__}"
            )
        params = positional(params)
        if any(isinstance(value, Mapping) for value in params):
            raise exc.ArgumentError("stream_query executes a statement once; a list of mappings is for execute_query")
    return RowStream(_rows(engine, query, params, chunk, made))


def _rows(
    engine: Engine, query: str | Executable, params: Any, chunk: int, made: str
) -> Generator[Row[Any], None, None]:
    with one_transaction(engine) as connection:
        connection.execution_options(stream_results=True, yield_per=chunk)
        tag(connection, made)
        raw, driver = connection.connection.dbapi_connection, for_dialect(engine.dialect)
        try:
            result = run_bounded(driver, raw, None, _execute, connection, query, params)  # with a first fetch
        except exc.DBAPIError as error:
            if for_dialect(engine.dialect).sqlstate(error.orig) == _SYNTAX_ERROR:
                error.add_note("stream_query opens a cursor at the server, which takes SELECT, VALUES and WITH only.")
            raise
        with result:
            while rows := run_bounded(driver, raw, None, result.fetchmany, chunk):
                yield from rows


def _execute(connection: Connection, query: str | Executable, params: Any) -> CursorResult[Any]:
    if not isinstance(query, str):
        return connection.execute(query, params)
    if params is None:
        return connection.exec_driver_sql(query, execution_options={"no_parameters": True})
    if isinstance(params, Mapping):
        return connection.execute(text(query), params)
    return connection.exec_driver_sql(for_driver(query, connection.dialect.paramstyle), params)
