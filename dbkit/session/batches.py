"""Rows from anywhere, one after the other: in batches, in the order of the columns, counted. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

T = TypeVar("T")

Progress = Callable[[int], object]
"""Told how many rows have been sent so far."""


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of ``size``, the last one shorter; no list is empty, and one at a time is held.

    Args:
        items: any iterable; it is read no further than the batch at hand.
        size: items of a list, at least 1.
    """
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def with_first(items: Iterable[T]) -> tuple[T, Iterator[T]] | None:
    """The first item, and an iterator over all of them; None where there is none.

    Args:
        items: any iterable; one item of it is read.
    """
    iterator = iter(items)
    for first in iterator:
        return first, chain((first,), iterator)
    return None


def in_order(rows: Iterable[Any], columns: Sequence[str], *, only: bool) -> Iterator[Sequence[Any]]:
    """Each row as a sequence of values in the order of the columns.

    Args:
        rows: mappings of column to value, or sequences of values.
        columns: the columns' names.
        only: a mapping may have no other keys than these.

    Raises:
        ValueError: a row that has not these columns; it says which row, from 1.
        TypeError: a row that is no mapping and no sequence.
    """
    width, names = len(columns), frozenset(columns)
    for number, row in enumerate(rows, 1):
        if isinstance(row, tuple | list) or (
            isinstance(row, Sequence) and not isinstance(row, str | bytes | bytearray)
        ):
            if len(row) != width:
                raise ValueError(f"row {number} has {len(row)} values, and there are {width} columns: {_list(columns)}")
            yield row
        elif isinstance(row, Mapping):
            try:
                values = [row[name] for name in columns]
            except KeyError as error:
                raise ValueError(f"row {number} has no {error.args[0]!r}; the columns are {_list(columns)}") from error
            if only and len(row) != width:
                more = _list(str(key) for key in row if key not in names)
                raise ValueError(
                    f"row {number} has {more}, which the first row has not; say columns= to choose the columns"
                )
            yield values
        else:
            raise TypeError(f"row {number} is of {type(row).__name__}; a row is a sequence of values, or a mapping")


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def counted(rows: Iterable[T], progress: Progress, every: int) -> Iterator[T]:
    """The rows as they are, while ``progress`` is told their number: every so often, and at their end.

    Args:
        rows: any iterable.
        progress: what it raises comes out of the iterator.
        every: rows from one call to the next.
    """
    number = 0
    for number, row in enumerate(rows, 1):
        yield row
        if number % every == 0:
            progress(number)
    if number == 0 or number % every:
        progress(number)
