"""``copy_rows`` and ``upsert_rows``: many rows into a table over COPY, from any iterable, all or nothing."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, exc, text

from dbkit.drivers import for_dialect
from dbkit.drivers.bounded import run_bounded
from dbkit.session.batches import Progress, counted, in_order, with_first
from dbkit.session.many import iterable
from dbkit.session.one_transaction import one_transaction

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.sql.compiler import IdentifierPreparer

EVERY = 10_000
"""Rows from one call of ``progress`` to the next."""

_JSON, _JSON_ARRAYS = frozenset({114, 3802}), frozenset({199, 3807})
"""The server's numbers of json and jsonb, and of their arrays; they are the same on every server."""

_JSON_VALUES = (dict, list, tuple, int, float)
"""Written as JSON where a column is of that type. Text is JSON already; the driver's wrappers are the driver's."""

_COLUMNS = text(
    "SELECT a.attname, CAST(coalesce(nullif(t.typbasetype, 0), t.oid) AS bigint) FROM pg_catalog.pg_attribute a "
    "JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE a.attrelid = CAST(:name AS regclass) AND a.attnum > 0 "
    "AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum"
)


def copy_rows(
    engine: Engine,
    table: str | Sequence[str] | Table | type,
    rows: Iterable[Mapping[str, Any] | Sequence[Any]],
    *,
    columns: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> int:
    """Add rows to a table over COPY, in one transaction: all or nothing.

    Args:
        engine: where to.
        table: its name as the server has it, with its schema before a dot where it has one (``"shop.films"``); the
            parts in a sequence where a dot is part of a name; a SQLAlchemy table, or a mapped class.
        rows: from any iterable; a generator is read as the rows are sent, so memory stays as it is. Each a mapping of
            column to value, or a sequence of values.
        columns: those that the values are for. None: the first row's keys, or all of the table's columns in its order.
        progress: told how many rows have been sent, every 10,000 and at the end. An error that it raises ends it all.

    Returns:
        How many rows the server took. 0, and nothing is borrowed, where there are none.

    Raises:
        sqlalchemy.exc.DBAPIError: the server refused (``IntegrityError``, ``DataError``, ...); nothing is committed.
        sqlalchemy.exc.ArgumentError: an argument is of no type described above.
        ValueError, TypeError: a row that does not fit the columns, or a value that cannot be written; it says which.
            A value that psycopg 3 cannot write is its own error, as SQLAlchemy's ``ProgrammingError``.
        NotImplementedError: the driver is neither psycopg2 nor psycopg 3.
        PoolTimeoutError: no connection could be had in time.

    None is NULL. For a column of type json or jsonb, text is taken as JSON as it is, and mappings, lists, numbers and
    booleans are written as JSON; a list is an array elsewhere. Values go to the server as the driver writes them:
    SQLAlchemy's types and Python defaults have no part in it, and listeners do not see a COPY. The connection is held
    while ``rows`` is read.
    """
    job = _begin(engine, table, rows, columns, progress)
    if job is None:
        return 0
    with one_transaction(engine) as connection:
        target = job.on(connection)
        return target.copy(target.name)


def upsert_rows(
    engine: Engine,
    table: str | Sequence[str] | Table | type,
    rows: Iterable[Mapping[str, Any] | Sequence[Any]],
    *,
    key: str | Sequence[str],
    columns: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> int:
    """Add rows to a table, or change those that are there, in one transaction: all or nothing.

    The rows go into a temporary table over COPY, and from there into the table with ``INSERT ... ON CONFLICT``, in the
    order of their keys, so that two upserts at a time do not deadlock. Of rows with equal keys the last one counts.

    Args:
        engine: where to.
        table, rows, columns, progress: as for ``copy_rows``.
        key: the column or columns that say which row it is; a unique index or constraint on just these is needed. The
            other columns of a row that is there are set; where there are no others, it stays as it is.

    Returns:
        How many rows were added or changed. 0, and nothing is borrowed, where there are none.

    Raises:
        sqlalchemy.exc.ProgrammingError: there is no unique index on the key; or as for ``copy_rows``.
        sqlalchemy.exc.ArgumentError: the key is not among the columns, or as for ``copy_rows``.
        ValueError: a row whose key is None, or as for ``copy_rows``.

    The role needs the right to make temporary tables in the database, and to read the table.
    """
    keys = (key,) if isinstance(key, str) else tuple(key)
    if not keys or not all(isinstance(name, str) for name in keys):
        raise exc.ArgumentError(f"key must be a column's name, or several, not {key!r}")
    job = _begin(engine, table, rows, columns, progress)
    if job is None:
        return 0
    with one_transaction(engine) as connection:
        target = job.on(connection, keys)
        quote = target.quote
        stage = "pg_temp." + quote(f"dbkit_upsert_{secrets.token_hex(8)}")
        names, unique = target.list(target.columns), target.list(keys)
        others = [quote(name) for name in target.columns if name not in keys]
        change = "UPDATE SET " + ", ".join(f"{name} = EXCLUDED.{name}" for name in others) if others else "NOTHING"
        _run(
            connection,
            f"CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS SELECT {names} FROM {target.name} WITH NO DATA",
        )
        target.copy(stage)
        return _run(
            connection,
            f"INSERT INTO {target.name} ({names}) SELECT DISTINCT ON ({unique}) {names} FROM {stage} "
            f"ORDER BY {unique}, ctid DESC ON CONFLICT ({unique}) DO {change}",
        )


def _run(connection: Connection, sql: str) -> int:
    return connection.exec_driver_sql(sql, execution_options={"no_parameters": True}).rowcount


def _begin(
    engine: Engine,
    table: object,
    rows: Iterable[Any],
    columns: Sequence[str] | None,
    progress: Progress | None,
) -> _Job | None:
    """All that can be checked before a connection is borrowed; None where there are no rows."""
    name = _quoted_name(engine, table)
    if columns is not None and (
        isinstance(columns, str) or not columns or not all(isinstance(column, str) for column in columns)
    ):
        raise exc.ArgumentError(f"columns must be a sequence of names, not {columns!r}")
    if columns is not None and len(set(columns)) < len(columns):
        raise exc.ArgumentError(f"a column stands twice in columns: {', '.join(columns)}")
    if progress is not None and not callable(progress):
        raise exc.ArgumentError(f"progress must be callable, not {type(progress).__name__}")
    begun = with_first(iterable(rows))
    if begun is None:
        return None
    first, everything = begun
    chosen = columns
    if chosen is None and isinstance(first, Mapping):
        chosen = tuple(first)
    return _Job(engine, name, everything, chosen, columns is None, progress)


@dataclass(frozen=True, slots=True)
class _Job:
    """The arguments of a call, checked."""

    engine: Engine
    name: str
    rows: Iterator[Any]
    columns: Sequence[str] | None
    only: bool
    progress: Progress | None

    def on(self, connection: Connection, keys: Sequence[str] = ()) -> _Target:
        """The same with what the server knows of the table."""
        types = {str(name): kind for name, kind in connection.execute(_COLUMNS, {"name": self.name})}
        columns = tuple(types) if self.columns is None else tuple(self.columns)
        missing = [name for name in keys if name not in columns]
        if missing:
            raise exc.ArgumentError(f"the key {missing[0]!r} is not among the columns: {', '.join(columns)}")
        return _Target(self, connection, columns, types, keys)


@dataclass(frozen=True, slots=True)
class _Target:
    """A table, on a connection."""

    job: _Job
    connection: Connection
    columns: tuple[str, ...]
    types: Mapping[str, int]
    keys: Sequence[str]

    @property
    def name(self) -> str:
        return self.job.name

    def quote(self, name: str) -> str:
        return _unformatted(_preparer(self.job.engine).quote_identifier(name))

    def list(self, names: Iterable[str]) -> str:
        return ", ".join(map(self.quote, names))

    def copy(self, into: str) -> int:
        """COPY the rows into a table that has these columns."""
        rows: Iterator[Sequence[Any]] = in_order(self.job.rows, self.columns, only=self.job.only)
        if self.keys:
            rows = _with_keys(rows, self.keys, [self.columns.index(name) for name in self.keys])
        rules = self._rules()
        if rules:
            rows = _converted(rows, rules)
        if self.job.progress is not None:
            rows = counted(rows, self.job.progress, EVERY)
        statement = f"COPY {into} ({self.list(self.columns)}) FROM STDIN"
        engine = self.job.engine
        try:
            raw = self.connection.connection.dbapi_connection
            driver = for_dialect(engine.dialect)
            return run_bounded(driver, raw, None, driver.copy_rows, raw, statement, rows)
        except engine.dialect.loaded_dbapi.Error as error:
            self.connection._handle_dbapi_exception(error, statement, None, None, None)

    def _rules(self) -> dict[int, Callable[[Any], Any]]:
        """How values of a column are written as JSON, by its place."""
        dumps = getattr(self.job.engine.dialect, "_json_serializer", None) or json.dumps
        rules: dict[int, Callable[[Any], Any]] = {}
        for place, name in enumerate(self.columns):
            kind = self.types.get(name)
            if kind in _JSON:
                rules[place] = lambda value: dumps(value) if isinstance(value, _JSON_VALUES) else value
            elif kind in _JSON_ARRAYS:
                rules[place] = lambda value: _each(value, dumps)
        return rules


def _each(value: Any, dumps: Callable[[Any], str]) -> Any:
    if isinstance(value, list):
        return [_each(item, dumps) for item in value]
    return dumps(value) if isinstance(value, _JSON_VALUES) else value


def _converted(rows: Iterator[Sequence[Any]], rules: Mapping[int, Callable[[Any], Any]]) -> Iterator[Sequence[Any]]:
    for row in rows:
        values = list(row)
        for place, rule in rules.items():
            values[place] = rule(values[place])
        yield values


def _with_keys(rows: Iterator[Sequence[Any]], keys: Sequence[str], places: Sequence[int]) -> Iterator[Sequence[Any]]:
    for number, row in enumerate(rows, 1):
        for key, place in zip(keys, places, strict=True):
            if row[place] is None:
                raise ValueError(f"row {number}: the key {key!r} is None, which is equal to no other")
        yield row


def _quoted_name(engine: Engine, table: object) -> str:
    """The table's name as it stands in SQL."""
    preparer = _preparer(engine)
    table = getattr(table, "__table__", table)
    if isinstance(table, Table):
        return _unformatted(preparer.format_table(table))
    parts = table.split(".") if isinstance(table, str) else table
    if (
        not isinstance(parts, Sequence)
        or not 1 <= len(parts) <= 2
        or not all(isinstance(part, str) and part for part in parts)
    ):
        raise exc.ArgumentError(
            f'table must be a name ("films", "shop.films"), a schema and a name, or a table of SQLAlchemy\'s, not '
            f"{table!r}"
        )
    return _unformatted(".".join(map(preparer.quote_identifier, parts)))


def _unformatted(quoted: str) -> str:
    """A quoted name for a statement without parameters, in which SQLAlchemy's doubled percent signs would stay."""
    return quoted.replace("%%", "%")


def _preparer(engine: Engine) -> IdentifierPreparer:
    return engine.dialect.identifier_preparer
