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

from sqlalchemy import Connection, Executable, exc, text
from sqlalchemy.engine import result_tuple

from dbkit.drivers import for_dialect
from dbkit.runtime.deadlines import current as current_deadline
from dbkit.session.errors import ResultUnreadableError
from dbkit.session.limits import execute as execute_within_limits
from dbkit.session.limits import impose_limits, is_limited, limited
from dbkit.session.many import execute_list, execute_none, tag
from dbkit.session.placeholders import for_driver, placeholder_fault
from dbkit.session.result import QueryResult
from dbkit.session.single_statement import single_statement
from dbkit.session.tags import comment, tagged
from dbkit.session.templates import bound, is_template
from dbkit.session.whole_result import WHOLE_RESULT, detached

if TYPE_CHECKING:
    from sqlalchemy import CursorResult, Engine, Row, TextClause
    from sqlalchemy.pool import PoolProxiedConnection

    from dbkit.session.tags import Tags

Params = Mapping[str, Any] | Sequence[Any] | None
"""The parameters of a query; see ``execute_query``."""

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
    tags: Tags = None,
) -> QueryResult:
    """Execute one statement, commit it, and return all its rows.

    Args:
        engine: where to. The connection goes back to its pool as it came, after an error too.
        query: SQL text, or any SQLAlchemy executable (``select()``, ``insert().returning()``, DDL, ...). A select of
            ORM classes gives their columns; objects come from a session. SQL text is never formatted. On Python 3.14
            also a template string, ``t"SELECT ... WHERE id = {user_id}"``, whose values are bound.
        params: without any, the text is sent as it is. With a mapping, ``:name`` in the text is a parameter; write
            ``\\:`` for a colon that could be one (``'10:30'`` and ``now()::date`` cannot), ``CAST(:name AS int)`` for a
            cast, and ``%`` as it is. With a sequence, the driver's ``%s`` is a parameter, and a literal percent sign is
            ``%%``. A list of mappings executes the statement once for each, in one transaction: all or nothing; rows
            that it returns come in the order of the list. An empty list executes nothing.
        timeout: seconds that the statement, and each wait for a lock, may take on the server; None for no limit. A
            server that does not stop it is given up shortly after, as for ``deadline``.
        read_only: the server refuses to write.
        tags: where the statement comes from (``{"controller": ..., "route": ..., "traceparent": ...}``), for the
            server's logs and statistics: a comment behind it, as sqlcommenter writes it.

    Returns:
        A ``QueryResult``; empty, with a ``rowcount``, where the statement returns no rows.

    Raises:
        sqlalchemy.exc.DBAPIError: the database refused; its subclasses say what (``IntegrityError``,
            ``ProgrammingError``, ``OperationalError``, ...).
        sqlalchemy.exc.StatementError: a parameter has no value, or a literal percent sign is not doubled.
        sqlalchemy.exc.ArgumentError: ``query`` or ``params`` is of no type described above, or ``params`` is an empty
            list and the statement has no parameters.
        ResultUnreadableError: the statement is committed; only its answer could not be read. Do not send it again.
        sqlalchemy.exc.InvalidRequestError: the statement left a transaction open (``BEGIN``), which was rolled back.
        PoolTimeoutError: no connection could be had in time.
        DeadlineExceeded: the time of ``db.deadline`` is over, or the server did not answer within ``timeout``.

    A single statement costs one round trip. An engine with an ``isolation_level`` runs it in a transaction at that
    level, in three. With ``timeout`` or ``read_only``, or within ``db.deadline``, it runs in a transaction too, in four
    (so not ``VACUUM`` and the like). A text of several statements gives the result that the driver gives: psycopg2 the
    last one's, psycopg 3 the first one's. Safe to call from any number of threads.
    """
    made = comment(tags) if tags is not None else ""
    if timeout is None and not read_only and current_deadline.get() is None:
        return _execute(engine, query, params, made)
    with limited(timeout, read_only=read_only):
        return _execute(engine, query, params, made)


def _execute(engine: Engine, query: str | Executable, params: Params, made: str) -> QueryResult:
    if isinstance(query, str):
        if params is None:
            return _plain(engine, query, made)
        if isinstance(params, Mapping):
            return _named(engine, query, params, made)
        if is_many(params):
            return execute_list(engine, text(query), params, made)
        if _is_empty(params) and placeholder_fault(query, 0, "") is None:
            return execute_none(text(query))
        return _numbered(engine, query, positional(params), made)
    if is_template(query):
        sql, values = template(query, params)
        return _numbered(engine, sql, values, made) if values else _plain(engine, sql, made)
    if not isinstance(query, Executable):
        raise exc.ArgumentError(
            f"query must be SQL text or a SQLAlchemy executable, not {type(query).__name__}; the driver's own "
            "composables and COPY go through raw_connection()"
        )
    if params is not None and not isinstance(params, Mapping):
        if is_many(params):
            return execute_list(engine, query, params, made)
        if _is_empty(params):
            return execute_none(query)
        raise exc.ArgumentError(
            "a SQLAlchemy executable takes a mapping of parameters or a list of mappings, not "
            f"{type(params).__name__}; a plain sequence binds %s in SQL text"
        )
    return _through_sqlalchemy(
        engine, lambda connection: connection.execute(query, params, execution_options=WHOLE_RESULT), made
    )


def _plain(engine: Engine, query: str, made: str) -> QueryResult:
    """Text without parameters: sent as it is, whatever colons and percent signs stand in it."""
    try:
        if _unobserved(engine):
            return _direct(engine, tagged(query, made, formatted=False), None)
        return _through_sqlalchemy(
            engine,
            lambda connection: connection.exec_driver_sql(
                query, execution_options={**WHOLE_RESULT, "no_parameters": True}
            ),
            made,
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


def _named(engine: Engine, query: str, params: Mapping[str, Any], made: str) -> QueryResult:
    clause, sql, names = _parse(query) if len(query) <= _LONG else _parse.__wrapped__(query)
    missing = [name for name in names if name not in params]
    if not missing and _unobserved(engine):
        return _direct(engine, tagged(sql, made, formatted=True), {name: params[name] for name in names})
    try:
        return _through_sqlalchemy(
            engine, lambda connection: connection.execute(clause, params, execution_options=WHOLE_RESULT), made
        )
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


def _numbered(engine: Engine, query: str, values: tuple[Any, ...], made: str) -> QueryResult:
    try:
        if _unobserved(engine):
            return _direct(engine, tagged(query, made, formatted=True), values)
        sql = for_driver(query, engine.dialect.paramstyle)
        return _through_sqlalchemy(
            engine, lambda connection: connection.exec_driver_sql(sql, values, execution_options=WHOLE_RESULT), made
        )
    except (exc.DBAPIError, LookupError, TypeError, ValueError) as error:
        refused = error.orig if isinstance(error, exc.DBAPIError) else error
        fault = placeholder_fault(query, len(values), for_dialect(engine.dialect).placeholders)
        if fault is None or for_dialect(engine.dialect).sqlstate(refused) is not None:  # or the server refused
            raise
        raise exc.StatementError(fault, query, values, refused, hide_parameters=engine.hide_parameters) from refused


def is_many(params: Sequence[Any]) -> bool:
    """Whether these are the mappings of many executions."""
    return (
        isinstance(params, Sequence)
        and not isinstance(params, str | bytes)
        and len(params) > 0
        and all(isinstance(item, Mapping) for item in params)
    )


def _is_empty(params: Sequence[Any]) -> bool:
    return isinstance(params, list) and not params


def positional(params: Sequence[Any]) -> tuple[Any, ...]:
    """The values for ``%s``.

    Raises:
        sqlalchemy.exc.ArgumentError: this is no sequence of values.
    """
    if not isinstance(params, Sequence) or isinstance(params, str | bytes | bytearray):
        raise exc.ArgumentError(
            f"params must be a mapping, a sequence or a list of mappings, not {type(params).__name__}; "
            "a single value is a sequence of one: (value,)"
        )
    return tuple(params)


def template(query: object, params: object) -> tuple[str, tuple[Any, ...]]:
    """The text and the values of a template string.

    Raises:
        sqlalchemy.exc.ArgumentError: there are other parameters too, or a value is not to be bound as it is.
    """
    if params is not None:
        raise exc.ArgumentError("a template string has its values within; leave params out")
    return bound(query)


# ---- through SQLAlchemy


def _through_sqlalchemy(engine: Engine, run: Callable[[Connection], CursorResult[Any]], made: str) -> QueryResult:
    with engine.connect() as connection:
        tag(connection, made)
        driver = for_dialect(engine.dialect)
        if is_limited():
            impose_limits(connection)
            result = detached(run(connection))
            connection.commit()
            return result
        raw = connection.connection.dbapi_connection
        alone = single_statement(driver, raw, engine.dialect) if driver.has_autocommit else None
        executed: Any = None
        try:
            with alone or nullcontext():
                executed = run(connection)
                result = detached(executed)
        except Exception as error:
            if executed is None or alone is None or not alone.committed:
                if isinstance(error, engine.dialect.loaded_dbapi.Error):  # of `alone`'s, which SQLAlchemy did not see
                    connection._handle_dbapi_exception(error, None, None, None, None)
                raise
            cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
            sent = executed.context
            raise ResultUnreadableError(sent.statement, sent.parameters[0], cause, engine.hide_parameters) from cause
        connection.commit()  # only now: psycopg 3 would commit a transaction that the text left open
        return result


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
        executed = False
        alone = single_statement(driver, connection, engine.dialect)
        try:
            with alone:
                cursor = connection.cursor()
                if is_limited():
                    execute_within_limits(driver, cursor, sql, values)
                else:
                    cursor.execute(sql, values)
                executed = True
                described = cursor.description
                rows = cursor.fetchall() if described is not None else ()
        except BaseException as error:
            if executed and alone.committed and isinstance(error, Exception):
                raise ResultUnreadableError(sql, values, error, engine.hide_parameters) from error
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
