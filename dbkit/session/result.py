"""The result of a query: its rows, detached from the connection they came over."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from sqlalchemy import exc

if TYPE_CHECKING:
    from sqlalchemy import Row, RowMapping

_SHOWN = 5
"""Rows a ``repr`` shows."""


class QueryResult(Sequence["Row[Any]"]):
    """The rows of one statement: an immutable sequence of SQLAlchemy ``Row``s that needs no connection any more.

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
