"""One statement for many rows, in one transaction: a list of mappings with all that it returns, or any iterable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Executable, Insert, TextClause, event, exc, text

from dbkit.drivers import for_dialect
from dbkit.session.batches import batches, with_first
from dbkit.session.one_transaction import one_transaction
from dbkit.session.placeholders import for_driver, placeholder_fault
from dbkit.session.result import QueryResult
from dbkit.session.tags import comment, tagged
from dbkit.session.whole_result import WHOLE_RESULT, detached

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dbkit.session.tags import Tags

BATCH = 1000
"""Rows that are sent, and held in memory, at a time."""


def execute_many(
    engine: Engine,
    query: str | Executable,
    rows: Iterable[Mapping[str, Any] | Sequence[Any]],
    *,
    batch: int = BATCH,
    tags: Tags = None,
) -> int:
    """Execute one statement for each row, in one transaction: all or nothing.

    Args:
        engine: where to.
        query: SQL text, or a SQLAlchemy executable.
        rows: the parameters of each execution, from any iterable; a generator is read a batch at a time. Mappings bind
            ``:name``, sequences the driver's ``%s``, all rows alike.
        batch: rows that are sent, and held in memory, at a time.
        tags: see ``execute_query``.

    Returns:
        How many rows were changed in all; -1 where the driver cannot say. 0, and nothing is borrowed, without rows.

    Raises:
        sqlalchemy.exc.DBAPIError: the database refused; nothing is committed.
        sqlalchemy.exc.InvalidRequestError: the statement returns rows, which would be lost; nothing is committed. A
            list of mappings in ``execute_query`` gives them.
        sqlalchemy.exc.ArgumentError: an argument is of no type described above.
        PoolTimeoutError: no connection could be had in time.

    The connection is held while ``rows`` is read. psycopg 3 and inserts of SQLAlchemy's send a batch at once; a text on
    psycopg2 is a round trip for each row, so that ``copy_rows`` and ``upsert_rows`` are for many.
    """
    made = comment(tags)
    if not isinstance(query, str | Executable):
        raise exc.ArgumentError(f"query must be SQL text or a SQLAlchemy executable, not {type(query).__name__}")
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise exc.ArgumentError(f"batch must be a number of rows, 1 or more, not {batch!r}")
    begun = with_first(iterable(rows))
    if begun is None:
        return 0
    first, everything = begun
    send = _Sender(engine, query, first)
    with one_transaction(engine) as connection:
        counts = _Counts(connection, engine)
        tag(connection, made)
        next(everything)
        if send.one(connection, first).returns_rows:
            raise exc.InvalidRequestError(
                "execute_many keeps no rows that a statement returns, so nothing was committed: leave out RETURNING, "
                "or give execute_query a list of mappings"
            )
        for group in batches(everything, batch):
            send.many(connection, group)
        return counts.total()


class _Sender:
    """Sends the rows in the way that the first one asks for."""

    def __init__(self, engine: Engine, query: str | Executable, first: object) -> None:
        self._named = isinstance(first, Mapping)
        self._statement = text(query) if self._named and isinstance(query, str) else query
        if self._named:
            return
        if not isinstance(query, str):
            raise exc.ArgumentError(
                f"a SQLAlchemy executable takes rows that are mappings, not {type(first).__name__}; "
                "sequences bind %s in SQL text"
            )
        values = self._alike(first)
        fault = placeholder_fault(query, len(values), for_dialect(engine.dialect).placeholders)
        if fault is not None:
            raise exc.StatementError(fault, query, values, None, hide_parameters=engine.hide_parameters)

    def one(self, connection: Connection, row: Any) -> Any:
        return self._send(connection, self._alike(row))

    def many(self, connection: Connection, rows: Sequence[Any]) -> None:
        self._send(connection, [self._alike(row) for row in rows])

    def _send(self, connection: Connection, params: Any) -> Any:
        if isinstance(self._statement, str):
            sql = for_driver(self._statement, connection.dialect.paramstyle)
            return connection.exec_driver_sql(sql, params, execution_options=WHOLE_RESULT)
        return connection.execute(self._statement, params, execution_options=WHOLE_RESULT)

    def _alike(self, row: Any) -> Any:
        if self._named and isinstance(row, Mapping):
            return row
        if not self._named and isinstance(row, Sequence) and not isinstance(row, str | bytes | bytearray):
            return tuple(row)
        expected = "a mapping, as the first one is" if self._named else "a mapping or a sequence, as the first one is"
        raise exc.ArgumentError(f"each row must be {expected}; this one is {type(row).__name__}")


def execute_list(engine: Engine, statement: Executable, params: Sequence[Mapping[str, Any]], made: str) -> QueryResult:
    """The statement once for each mapping, in one transaction, with all rows in order, read before the commit.

    Args:
        engine: where to.
        statement: any executable.
        params: at least one mapping.
        made: the comment of the statement's tags.
    """
    returning = bool(getattr(statement, "returning_column_descriptions", ()))
    if returning and isinstance(statement, Insert):
        statement = statement.returning(sort_by_parameter_order=True)
    at_once = isinstance(statement, Insert) or (statement.is_dml and not returning)
    with one_transaction(engine) as connection:
        counts = _Counts(connection, engine)
        tag(connection, made)
        first, rest = (list(params), []) if at_once else (params[0], list(params[1:]))
        result = detached(connection.execute(statement, first, execution_options=WHOLE_RESULT))
        if result.columns:
            rows = result.all()
            for values in rest:  # no driver keeps the rows of many executions
                rows += connection.execute(statement, values, execution_options=WHOLE_RESULT)
            return QueryResult(rows, result.columns, len(rows))
        if rest:
            connection.execute(statement, rest, execution_options=WHOLE_RESULT)
        return QueryResult((), (), counts.total())


def execute_none(statement: Executable) -> QueryResult:
    """An empty list of mappings executes nothing.

    Args:
        statement: any executable.

    Raises:
        sqlalchemy.exc.ArgumentError: the statement takes no mappings, so that an empty list of values may be meant.
    """
    if statement.is_dml or (isinstance(statement, TextClause) and statement.compile().params):
        return QueryResult((), (), 0)
    raise exc.ArgumentError(
        "params is an empty list, and the statement has no parameters: an empty list of mappings would execute it not "
        "at all, an empty list of values once. Leave params out to execute it once."
    )


class _Counts:
    """The changed rows of all that is executed on a connection."""

    def __init__(self, connection: Connection, engine: Engine) -> None:
        self._every = for_dialect(engine.dialect).counts_every_execution(engine.dialect)
        self._counts: list[int] = []
        event.listen(connection, "after_cursor_execute", self._note)

    def _note(self, _: object, cursor: Any, _sql: str, sent: object, _context: object, executemany: bool) -> None:
        # SQLAlchemy sends large inserts in batches, one mapping of values each, and its rowcount is the last one's
        right = self._every or not executemany or isinstance(sent, Mapping)
        self._counts.append(cursor.rowcount if right else -1)

    def total(self) -> int:
        """Their sum; -1 where the driver did not say."""
        return -1 if min(self._counts, default=-1) < 0 else sum(self._counts)


def tag(connection: Connection, made: str) -> None:
    """Put a comment behind every statement that this connection executes from now on.

    Args:
        connection: for one piece of work; its next borrower has a new one.
        made: the comment; empty for none.
    """
    if not made:
        return

    def write(_: object, _cursor: object, sql: str, values: Any, context: Any, _many: bool) -> tuple[str, Any]:
        plain = not values and context is not None and context.execution_options.get("no_parameters", False)
        return tagged(sql, made, formatted=not plain), values

    event.listen(connection, "before_cursor_execute", write, retval=True)


def iterable(rows: Iterable[Any]) -> Iterable[Any]:
    """The rows as they are.

    Raises:
        sqlalchemy.exc.ArgumentError: these are no rows.
    """
    if isinstance(rows, str | bytes | bytearray | Mapping) or not isinstance(rows, Iterable):
        raise exc.ArgumentError(f"rows must be an iterable of rows, not {type(rows).__name__}")
    return rows
