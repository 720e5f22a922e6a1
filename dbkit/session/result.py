"""The result of a query: its rows, detached from the connection they came over."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, TextIO, overload

from sqlalchemy import exc

from dbkit.errors import ExtraMissingError

if TYPE_CHECKING:
    import pandas
    from sqlalchemy import Row, RowMapping

_SHOWN = 5
"""Rows a ``repr`` shows."""
_SHOWN_IN_HTML = 20
"""Rows a notebook shows."""


class QueryResult(Sequence["Row[Any]"]):
    """The rows of one statement: an immutable sequence of SQLAlchemy's rows that needs no connection any more.

    Iterate, index, slice and ``len()`` it; it is true when it has rows. A row's columns are ``row.name``, ``row[0]``
    and ``row._mapping["name"]``. Equal to any sequence of equal rows or tuples. The methods mean what they mean on
    SQLAlchemy's ``Result``, but may be called any number of times. A statement that returns no rows gives an empty
    result with a ``rowcount``. Safe to share between threads; picklable if the values in its rows are.

    Attributes:
        columns: the columns' names, in order; empty where the statement returns no rows.
        rowcount: the rows the statement returned or touched; -1 where the driver cannot say (``CREATE TABLE``, ...).
            A slice keeps the rowcount of the whole.
    """

    __slots__ = ("_columns", "_rowcount", "_rows")

    def __init__(self, rows: Iterable[Row[Any]], columns: Iterable[str], rowcount: int) -> None:
        self._rows = tuple(rows)
        self._columns = tuple(columns)
        self._rowcount = rowcount

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return self._columns

    @property
    def rowcount(self) -> int:
        """The rows the statement returned or touched; -1 where the driver cannot say."""
        return self._rowcount

    def all(self) -> list[Row[Any]]:
        """The rows in a new list."""
        return list(self._rows)

    def first(self) -> Row[Any] | None:
        """The first row, or None where there is none."""
        return self._rows[0] if self._rows else None

    def one(self) -> Row[Any]:
        """The only row.

        Raises:
            sqlalchemy.exc.NoResultFound: there is none.
            sqlalchemy.exc.MultipleResultsFound: there are several.
        """
        row = self.one_or_none()
        if row is None:
            raise exc.NoResultFound("No row was found when one was required")
        return row

    def one_or_none(self) -> Row[Any] | None:
        """The only row, or None where there is none.

        Raises:
            sqlalchemy.exc.MultipleResultsFound: there are several.
        """
        if len(self._rows) > 1:
            raise exc.MultipleResultsFound(f"{len(self._rows)} rows were found when at most one was expected")
        return self.first()

    def scalar(self) -> Any:
        """The first column of the first row, or None where there is no row."""
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        """The first column of the only row.

        Raises:
            sqlalchemy.exc.NoResultFound: there is no row.
            sqlalchemy.exc.MultipleResultsFound: there are several.
        """
        return self.one()[0]

    def scalars(self, index: int | str = 0) -> tuple[Any, ...]:
        """One column of every row.

        Args:
            index: the column, by position from 0 or by name.
        """
        if isinstance(index, str):
            return tuple(row._mapping[index] for row in self._rows)
        return tuple(row[index] for row in self._rows)

    def mappings(self) -> tuple[RowMapping, ...]:
        """Every row as a read-only mapping of column to value."""
        return tuple(row._mapping for row in self._rows)

    # ---- elsewhere; the rules for values stand at the head of ``dbkit.session.export``

    def to_dicts(self) -> list[dict[str, Any]]:
        """Every row as a new dictionary of column to value, the values as they are.

        Raises:
            sqlalchemy.exc.InvalidRequestError: two columns have the same name.
        """
        self._need_names("to_dicts()")
        return [dict(zip(self._columns, row, strict=True)) for row in self._rows]

    def to_csv(self, target: str | os.PathLike[str] | TextIO) -> None:
        """Write the rows as CSV in UTF-8, under a line with the columns' names.

        None is an empty field, bytes are ``\\x0aff``, dates ISO 8601, lists and mappings JSON.

        Args:
            target: a path: the file is there whole or, after an error, as it was before. Or an open text file, which
                is left open; open it with ``newline=""``.

        Raises:
            TypeError: a value for which there is no rule; it names the column.
            OSError: the file cannot be written.
        """
        from dbkit.session.export import cell, cells

        lines = cells(self._rows, self._columns, cell)
        if isinstance(target, str | os.PathLike):
            from dbkit.session.export_file import whole_file

            with whole_file(target) as file:
                self._write_csv(file, lines)
        else:
            self._write_csv(target, lines)

    def _write_csv(self, file: TextIO, lines: Iterable[list[str]]) -> None:
        import csv

        writer = csv.writer(file)
        writer.writerow(self._columns)
        writer.writerows(lines)

    def to_json(self, *, indent: int | None = None) -> str:
        """The rows as a JSON array of objects.

        Dates are ISO 8601; a ``Decimal`` is text, so that no reader rounds it; a UUID is text, bytes are ``\\x0aff``.

        Args:
            indent: spaces for each level; None for one line.

        Raises:
            sqlalchemy.exc.InvalidRequestError: two columns have the same name.
            TypeError: a value for which there is no rule; it names the column.
        """
        import json

        from dbkit.session.export import cells, plain

        self._need_names("to_json()")
        rows = [dict(zip(self._columns, row, strict=True)) for row in cells(self._rows, self._columns, plain)]
        return json.dumps(rows, ensure_ascii=False, allow_nan=False, indent=indent)

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a pandas ``DataFrame``, with the columns' names, also where there are no rows.

        No value is rounded: integers and booleans beside NULLs are pandas' ``Int64`` and ``boolean``, a ``Decimal``
        stays one. Moments (``timestamptz``) are in UTC, ``bytea`` is bytes. A column without any value is ``object``.

        Raises:
            ExtraMissingError: pandas is not installed.
        """
        try:
            made: Any = import_module("pandas")
        except ImportError as error:
            raise ExtraMissingError("to_pandas()", "pandas", "pandas") from error
        from dbkit.session.export_pandas import frame

        return frame(made, self._rows, self._columns)

    def _need_names(self, method: str) -> None:
        from dbkit.session.export import repeated

        twice = repeated(self._columns)
        if twice is not None:
            raise exc.InvalidRequestError(
                f"{method}: two columns are called {twice!r}, and only one could be kept; name them apart in SQL (AS)"
            )

    def _repr_html_(self) -> str:
        """The first rows as a table, for a notebook; everything is escaped."""
        from dbkit.session.export import html_table

        return html_table(self._rows[:_SHOWN_IN_HTML], self._columns, total=len(self._rows))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row[Any]]:
        return iter(self._rows)

    @overload
    def __getitem__(self, index: int) -> Row[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> QueryResult: ...
    def __getitem__(self, index: int | slice) -> Row[Any] | QueryResult:
        if isinstance(index, slice):
            return QueryResult(self._rows[index], self._columns, self._rowcount)
        return self._rows[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, QueryResult):
            return self._rows == other._rows and self._columns == other._columns
        if isinstance(other, Sequence) and not isinstance(other, str | bytes):
            return self._rows == tuple(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal to lists, which have none

    def __repr__(self) -> str:
        shown = [reprlib.repr(tuple(row)) for row in self._rows[:_SHOWN]]
        more = len(self._rows) - len(shown)
        rows = ", ".join([*shown, f"... {more} more"] if more else shown)
        return f"QueryResult(columns={self._columns!r}, rowcount={self._rowcount}, rows=[{rows}])"
