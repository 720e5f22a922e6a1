"""``execute_query``: one statement, one round trip, rows detached from the connection.

Two roads lead to the same result. SQLAlchemy's ``Connection`` takes all that may be watched or rewritten on its way:
SQL expressions, and everything on an engine with listeners, echo, execution options or a driver that dbkit does not
know. A plain string on an engine that nobody watches needs none of that machinery, which costs several times the round
trip itself: it goes from the pool to the driver's cursor directly. SQLAlchemy still parses its parameters (once), lends
the connection, wraps the errors, judges disconnects and makes the rows. Any difference between the two is a bug.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import Connection, Executable, event, exc, text
from sqlalchemy.engine import result_tuple

from dbkit.drivers import for_dialect
from dbkit.runtime.deadlines import current as current_deadline
from dbkit.session.limits import impose_limits, is_limited, limited
from dbkit.session.result import QueryResult
from dbkit.session.single_statement import single_statement

if TYPE_CHECKING:
    from sqlalchemy import CursorResult, Engine, Row, TextClause
    from sqlalchemy.pool import PoolProxiedConnection

Params = Mapping[str, Any] | Sequence[Any] | None
"""The parameters of a query; see ``execute_query``."""

_WHOLE_RESULT: Mapping[str, Any] = {"stream_results": False, "yield_per": None, "preserve_rowcount": True}
_SYNTAX_ERROR = "42601"
_LONG = 20_000
"""Statements longer than this, in characters, are not worth remembering."""

_notices = logging.getLogger("sqlalchemy.dialects.postgresql")


def execute_query(
    engine: Engine,
    query: str | Executable,
    params: Params = None,
    *,
    timeout: float | None = None,
    read_only: bool = False,
) -> QueryResult:
    """Execute one statement, commit it, and return all its rows.

    Args:
        engine: where to. The connection goes back to its pool as it came, after an error too.
        query: SQL text, or any SQLAlchemy executable (``select()``, ``insert().returning()``, DDL, ...). A select of
            ORM classes gives their columns; objects come from a session. SQL text is never formatted.
        params: without any, the text is sent as it is. With a mapping, ``:name`` in the text is a parameter; write
            ``\\:`` for a colon that could be one (``'10:30'`` and ``now()::date`` cannot), ``CAST(:name AS int)`` for a
            cast, and ``%`` as it is. With a sequence, the driver's ``%s`` is a parameter, and a literal percent sign is
            ``%%``. A list of mappings executes the statement once for each, in one transaction: all or nothing.
        timeout: seconds that the statement, and each wait for a lock, may take on the server; None for no limit.
        read_only: the server refuses to write.

    Returns:
        A ``QueryResult``; empty, with a ``rowcount``, where the statement returns no rows.

    Raises:
        sqlalchemy.exc.DBAPIError: the database refused; its subclasses say what (``IntegrityError``,
            ``ProgrammingError``, ``OperationalError``, ...).
        sqlalchemy.exc.StatementError: a parameter has no value, or a literal percent sign is not doubled.
        sqlalchemy.exc.ArgumentError: ``query`` or ``params`` is of no type described above.
        sqlalchemy.exc.InvalidRequestError: the statement left a transaction open (``BEGIN``), which was rolled back.
        PoolTimeoutError: no connection could be had in time.
        DeadlineExceeded: the time of ``db.deadline`` is over.

    A single statement costs one round trip. An engine with an ``isolation_level`` runs it in a transaction at that
    level, in three. With ``timeout`` or ``read_only``, or within ``db.deadline``, it runs in a transaction too, in four
    (so not ``VACUUM`` and the like). A text of several statements gives the result that the driver gives: psycopg2 the
    last one's, psycopg 3 the first one's. Safe to call from any number of threads.
    """
    if timeout is None and not read_only and current_deadline.get() is None:
        return _execute(engine, query, params)
    with limited(timeout, read_only=read_only):
        return _execute(engine, query, params)


def _execute(engine: Engine, query: str | Executable, params: Params) -> QueryResult:
    if isinstance(query, str):
        if params is None:
            return _plain(engine, query)
        if isinstance(params, Mapping):
            return _named(engine, query, params)
        if _is_many(params):
            return _many(engine, text(query), params)
        return _numbered(engine, query, _positional(params))
    if not isinstance(query, Executable):
        raise exc.ArgumentError(
            f"query must be SQL text or a SQLAlchemy executable, not {type(query).__name__}; the driver's own "
            "composables and COPY go through raw_connection()"
        )
    if params is not None and not isinstance(params, Mapping):
        if _is_many(params):
            return _many(engine, query, params)
        raise exc.ArgumentError(
            "a SQLAlchemy executable takes a mapping of parameters or a list of mappings, not "
            f"{type(params).__name__}; a plain sequence binds %s in SQL text"
        )
    return _through_sqlalchemy(
        engine, lambda connection: connection.execute(query, params, execution_options=_WHOLE_RESULT)
    )


def _plain(engine: Engine, query: str) -> QueryResult:
    """Text without parameters: sent as it is, whatever colons and percent signs stand in it."""
    try:
        if _unobserved(engine):
            return _direct(engine, query, None)
        return _through_sqlalchemy(
            engine, lambda connection: connection.exec_driver_sql(query, execution_options={"no_parameters": True})
        )
    except exc.DBAPIError as error:
        driver = for_dialect(engine.dialect)
        position = driver.error_position(error.orig)
        if driver.sqlstate(error.orig) == _SYNTAX_ERROR and position is not None:
            name = re.compile(r":(\w+)").match(query, position - 1)
            if name is not None:
                error.add_note(
                    f'If :{name[1]} is a parameter, give its value: execute_query(..., {{"{name[1]}": ...}}).'
                )
        raise


def _named(engine: Engine, query: str, params: Mapping[str, Any]) -> QueryResult:
    clause, sql, names = _parse(query) if len(query) <= _LONG else _parse.__wrapped__(query)
    missing = [name for name in names if name not in params]
    if not missing and _unobserved(engine):
        return _direct(engine, sql, {name: params[name] for name in names})
    try:
        return _through_sqlalchemy(engine, lambda connection: connection.execute(clause, params))
    except exc.StatementError as error:
        if missing:
            error.add_note(f"Give a value for :{missing[0]}, or write \\:{missing[0]} where the colon is meant.")
        raise


@lru_cache(maxsize=512)
def _parse(query: str) -> tuple[TextClause, str, tuple[str, ...]]:
    """The statement as SQLAlchemy understands it, as the driver takes it, and its parameters' names."""
    from sqlalchemy.dialects.postgresql import psycopg2 as dialect  # psycopg 3 takes the same

    clause = text(query)
    compiled = clause.compile(dialect=dialect.dialect())  # type: ignore[no-untyped-call]
    return clause, compiled.string, tuple(compiled.params)


def _numbered(engine: Engine, query: str, values: tuple[Any, ...]) -> QueryResult:
    try:
        if _unobserved(engine):
            return _direct(engine, query, values)
        return _through_sqlalchemy(engine, lambda connection: connection.exec_driver_sql(query, values))
    except (exc.DBAPIError, LookupError, TypeError, ValueError) as error:
        refused = error.orig if isinstance(error, exc.DBAPIError) else error
        fault = placeholder_fault(query, len(values), for_dialect(engine.dialect).placeholders)
        if fault is None or for_dialect(engine.dialect).sqlstate(refused) is not None:  # or the server refused
            raise
        raise exc.StatementError(fault, query, values, refused, hide_parameters=engine.hide_parameters) from refused


def placeholder_fault(query: str, values: int, letters: str) -> str | None:
    """Tell what is wrong with the placeholders of a text that binds a sequence; None if the driver can fill them all.

    Args:
        query: the text.
        values: how many values there are for them.
        letters: what may follow a percent sign in a placeholder (``s``).
    """
    signs = re.findall("%(.?)", query, re.DOTALL)
    odd = next((sign for sign in signs if not sign or sign not in letters + "%"), None)
    doubled = "write %% where a percent sign is meant"
    if odd is not None:
        return f"{'%' + odd!r} is no placeholder: with a sequence of values %s is one; {doubled}"
    expected = sum(sign != "%" for sign in signs)
    if expected != values:
        return f"placeholders in the text: {expected}, values given: {values}; {doubled}"
    return None


def _is_many(params: Sequence[Any]) -> bool:
    return (
        isinstance(params, Sequence)
        and not isinstance(params, str | bytes)
        and len(params) > 0
        and all(isinstance(item, Mapping) for item in params)
    )


def _positional(params: Sequence[Any]) -> tuple[Any, ...]:
    if not isinstance(params, Sequence) or isinstance(params, str | bytes | bytearray):
        raise exc.ArgumentError(
            f"params must be a mapping, a sequence or a list of mappings, not {type(params).__name__}; "
            "a single value is a sequence of one: (value,)"
        )
    return tuple(params)


# ---- through SQLAlchemy


def _through_sqlalchemy(engine: Engine, run: Callable[[Connection], CursorResult[Any]]) -> QueryResult:
    with engine.connect() as connection:
        driver = for_dialect(engine.dialect)
        if is_limited():
            impose_limits(connection)
            result = _detached(run(connection))
            connection.commit()
            return result
        alone = (
            single_statement(driver, connection.connection.dbapi_connection, engine.dialect)
            if driver.has_autocommit
            else nullcontext()
        )
        with alone:
            result = _detached(run(connection))
        connection.commit()  # only now: psycopg 3 would commit a transaction that the text left open
        return result


def _many(engine: Engine, statement: Executable, params: Sequence[Mapping[str, Any]]) -> QueryResult:
    touched: list[int] = []
    with engine.begin() as connection:
        # SQLAlchemy sends large inserts in batches, and its rowcount is the last one's
        if is_limited():
            impose_limits(connection)
        event.listen(connection, "after_cursor_execute", lambda _, cursor, *_more: touched.append(cursor.rowcount))
        result = _detached(connection.execute(statement, list(params), execution_options=_WHOLE_RESULT))
    if result.columns or min(touched, default=-1) < 0:
        return result
    return QueryResult((), (), sum(touched))


def _detached(result: CursorResult[Any]) -> QueryResult:
    if not result.returns_rows:
        return QueryResult((), (), result.rowcount)
    rows = result.all()
    return QueryResult(rows, result.keys(), len(rows))


# ---- to the driver directly


def _unobserved(engine: Engine) -> bool:
    """Whether nobody could tell the direct road from SQLAlchemy's."""
    dialect = engine.dialect
    return (
        for_dialect(dialect).has_autocommit
        and dialect.paramstyle == "pyformat"
        and not (engine._has_events or dialect._has_events or Connection._has_events)
        and not engine.get_execution_options()
        and not engine._should_log_info()
    )


def _direct(engine: Engine, sql: str, values: Mapping[str, Any] | tuple[Any, ...] | None) -> QueryResult:
    driver = for_dialect(engine.dialect)
    borrowed = _borrow(engine)
    try:
        connection: Any = borrowed.dbapi_connection
        cursor = None
        try:
            with single_statement(driver, connection, engine.dialect):
                cursor = connection.cursor()
                cursor.execute(sql, values)
                described = cursor.description
                rows = cursor.fetchall() if described is not None else ()
        except BaseException as error:  # noqa: BLE001 - passed on
            _refused(engine, borrowed, error, sql, values, cursor)
        rowcount = cursor.rowcount
        cursor.close()
        for notice in driver.take_notices(connection):
            _notices.info(notice.rstrip())
        if described is None:
            return QueryResult((), (), rowcount)
        columns = tuple([column[0] for column in described])
        return QueryResult(map(_row_maker(columns), rows), columns, rowcount)
    finally:
        borrowed.close()


@lru_cache(maxsize=512)
def _row_maker(columns: tuple[str, ...]) -> Callable[[Sequence[Any]], Row[Any]]:
    """Makes ``Row``s with these columns of a driver's rows."""
    return result_tuple(columns)


def _borrow(engine: Engine) -> PoolProxiedConnection:
    try:
        return engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error as error:
        Connection._handle_dbapi_exception_noconnection(error, engine.dialect, engine)


def _refused(
    engine: Engine,
    borrowed: PoolProxiedConnection,
    error: BaseException,
    sql: str,
    values: Mapping[str, Any] | tuple[Any, ...] | None,
    cursor: Any,
) -> NoReturn:
    """Let SQLAlchemy handle the error as its own: wrap it, and invalidate what a lost connection takes with it."""
    statement = sql if isinstance(error, engine.dialect.loaded_dbapi.Error) else None
    Connection(engine, borrowed)._handle_dbapi_exception(error, statement, values, cursor, None)
