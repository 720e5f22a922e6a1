"""Rows in the text format of COPY, for a driver that has no writer of its own. Pure.

One line for each row, a tab between values, ``\\N`` for NULL; backslash, tab, newline and carriage return are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any
from uuid import UUID

CHUNK = 1 << 16
"""Characters handed to the driver at a time, about."""

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"'})
_AS_TEXT = frozenset(
    {int, Decimal, UUID, IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network}
)


def copy_lines(rows: Iterable[Sequence[Any]], unwrap: Callable[[Any], Any]) -> Iterator[str]:
    """Each row as a line.

    Args:
        rows: the values of each.
        unwrap: gives the value inside an object of the driver's own; anything else as it is.

    Raises:
        TypeError: a value that cannot be written; it says where, counted from 1.
    """
    for number, row in enumerate(rows, 1):
        try:
            yield "\t".join([_field(value, unwrap) for value in row]) + "\n"
        except _UnknownError as error:
            place = next(at for at, value in enumerate(row, 1) if _fails(value, unwrap))
            raise TypeError(f"row {number}, value {place}: {error}") from None


class CopyStream:
    """A file to read lines from, which are made as they are read.

    Args:
        lines: the text; each with its newline.

    Attributes:
        error: what reading the lines raised; None if nothing.
    """

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> str:
        """The next lines, ``CHUNK`` characters of them or a little more; empty at the end.

        Args:
            size: what the driver would like; it takes more.
        """
        held, length = [], 0
        try:
            for line in self._lines:
                held.append(line)
                length += len(line)
                if length >= CHUNK:
                    break
        except BaseException as error:
            self.error = error
            raise
        return "".join(held)


class _UnknownError(Exception):
    """A value for which there is no rule."""


def _field(value: Any, unwrap: Callable[[Any], Any]) -> str:
    if value is None:
        return "\\N"
    kind = type(value)
    if kind is str:
        return str(value.translate(_ESCAPES))
    if kind is int:
        return str(value)
    return _text(value, unwrap).translate(_ESCAPES)


def _text(value: Any, unwrap: Callable[[Any], Any]) -> str:
    """A value, not None, as PostgreSQL reads it, not yet escaped."""
    kind = type(value)
    if kind in _AS_TEXT:
        return str(value)
    if kind is bool:
        return "t" if value else "f"
    if isinstance(value, float):
        if math.isfinite(value):
            return float.__repr__(value)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Enum) and not isinstance(value, str | int):
        return value.name  # as psycopg 3 and SQLAlchemy have it
    if isinstance(value, str):
        return str(value.value) if isinstance(value, Enum) else str(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.days} days {value.seconds}.{value.microseconds:06d} seconds"
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\x" + bytes(value).hex()
    if isinstance(value, list):
        return "{" + ",".join([_element(item, unwrap) for item in value]) + "}"
    if isinstance(value, tuple(_AS_TEXT)):
        return str(value)
    inside = unwrap(value)
    if inside is value:
        raise _UnknownError(_why(value))
    return _text(inside, unwrap)


def _element(item: Any, unwrap: Callable[[Any], Any]) -> str:
    if item is None:
        return "NULL"
    if isinstance(item, list):
        return _text(item, unwrap)
    return '"' + _text(item, unwrap).translate(_QUOTED) + '"'


def _why(value: Any) -> str:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    hint = ""
    if isinstance(value, dict):
        hint = ": the column is not of type json or jsonb"
    elif isinstance(value, tuple | set | frozenset):
        hint = ": give a list for an array"
    return f"there is no rule for a value of {kind}{hint}"


def _fails(value: Any, unwrap: Callable[[Any], Any]) -> bool:
    try:
        _field(value, unwrap)
    except _UnknownError:
        return True
    return False
