"""A result's rows for the world outside: CSV, JSON, a table in HTML. Values and text only; files are ``export_file``'s.

One rule for each value, chosen so that nothing is lost and every reader agrees:

=====================  ============================  =========================
value                  JSON                          CSV
=====================  ============================  =========================
``None``               ``null``                      empty
``bool``               ``true``, ``false``           ``true``, ``false``
``int``, ``float``     number                        as Python writes it
``float`` nan, inf     ``"NaN"``, ``"Infinity"``     ``NaN``, ``Infinity``
``Decimal``            text: digits are kept         its digits
dates and times        text, ISO 8601                ISO 8601
``timedelta``          text, ISO 8601 (``P1DT2H``)   the same
``UUID``, addresses    text                          text
``bytes``              text, ``\\x0aff``              ``\\x0aff``
``list``, ``dict``     array, object                 as JSON
``Enum``               its value                     its value
=====================  ============================  =========================

Ranges and other values of the drivers' own classes are given as ``str`` gives them. A value of any other class is
refused, by the name of its column.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from html import escape
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any
from uuid import UUID

_AS_TEXT = (
    Decimal, UUID, IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network,
)  # fmt: skip
_DRIVERS = ("psycopg2.", "psycopg.", "sqlalchemy.")
_CELL = 200
"""Characters of a value that an HTML table shows."""


def plain(value: Any) -> Any:
    """A value of a row as JSON can hold it: text, a number, a boolean, None, or lists and mappings of such.

    Args:
        value: as the driver gave it.

    Raises:
        TypeError: it is of a class for which there is no rule.
    """
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\x" + bytes(value).hex()
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if type(value).__module__.startswith(_DRIVERS):
        return str(value)  # a range, an hstore, ...
    raise TypeError(f"there is no rule for a value of {type(value).__module__}.{type(value).__qualname__}")


def duration(value: timedelta) -> str:
    """A span of time as ISO 8601 writes it; negative ones with a sign in front.

    Args:
        value: the span.
    """
    sign, span = ("-", -value) if value < timedelta(0) else ("", value)
    minutes, seconds = divmod(span.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days = f"{span.days}D" if span.days else ""
    fraction = f".{span.microseconds:06d}".rstrip("0") if span.microseconds else ""
    clock = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
    clock += f"{seconds}{fraction}S" if seconds or fraction else ""
    return f"{sign}P{days}" + (f"T{clock}" if clock else "" if days else "T0S")


def cell(value: Any) -> str:
    """A value as text for CSV; None is empty.

    Args:
        value: as the driver gave it.

    Raises:
        TypeError: as ``plain``.
    """
    if isinstance(value, str):
        return str(plain(value))
    made = plain(value)
    if made is None:
        return ""
    if isinstance(made, bool):
        return "true" if made else "false"
    if isinstance(made, list | dict):
        return json.dumps(made, ensure_ascii=False)
    return str(made)


def cells(rows: Iterable[Sequence[Any]], columns: Sequence[str], rule: Callable[[Any], Any]) -> Iterator[list[Any]]:
    """Each row's values by a rule; an error names the row, from 1, and the column.

    Args:
        rows: the rows.
        columns: their columns' names.
        rule: ``plain`` or ``cell``.

    Raises:
        TypeError: a value for which there is no rule.
    """
    for number, row in enumerate(rows, 1):
        try:
            yield [rule(value) for value in row]
        except TypeError:
            for name, value in zip(columns, row, strict=True):
                try:
                    rule(value)
                except TypeError as error:
                    raise TypeError(f"row {number}, column {name}: {error}; cast it in SQL ({name}::text)") from error
            raise


def repeated(columns: Sequence[str]) -> str | None:
    """The first name that stands twice among the columns; None if there is none.

    Args:
        columns: the names.
    """
    seen: set[str] = set()
    return next((name for name in columns if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def html_table(rows: Sequence[Sequence[Any]], columns: Sequence[str], *, total: int) -> str:
    """A table for a notebook. Everything in it is escaped, and long values are cut.

    Args:
        rows: the rows to show.
        columns: their columns' names.
        total: how many rows there are in all.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{_shown(value)}</td>" for value in row) + "</tr>" for row in rows)
    more = total - len(rows)
    foot = f"{total:,} row{'' if total == 1 else 's'}" + (f", {more:,} of them not shown" if more else "")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{foot}</p>"


def _shown(value: Any) -> str:
    text = "NULL" if value is None else str(value)
    return escape(text if len(text) <= _CELL else text[: _CELL - 1] + "…")
