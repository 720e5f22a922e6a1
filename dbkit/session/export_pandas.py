"""A result's rows as a pandas ``DataFrame``: no value is changed on the way, and the types do not depend on the driver.

pandas guesses a column's type from its values, and some of its guesses lose something: integers beside a NULL become
floats, of which the large ones are rounded. Such columns are told their type here; all others are left to pandas.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

_LARGEST = 2**63 - 1


def frame(pandas: Any, rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> pandas.DataFrame:
    """The rows as a frame with these columns; names may stand twice.

    Args:
        pandas: the module, imported.
        rows: the rows.
        columns: their columns' names.
    """
    made = {number: _column(pandas, [row[number] for row in rows]) for number in range(len(columns))}
    whole: pandas.DataFrame = pandas.DataFrame(made, index=pandas.RangeIndex(len(rows)))
    whole.columns = list(columns)
    return whole


def _column(pandas: Any, values: list[Any]) -> Any:
    """The values of a column, of a type that holds each of them, where pandas' own guess does not."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int} and None in values:
        fits = all(value is None or -_LARGEST <= value <= _LARGEST for value in values)
        return pandas.array(values, dtype="Int64" if fits else object)
    if kinds == {bool} and None in values:
        return pandas.array(values, dtype="boolean")
    if kinds == {memoryview}:  # psycopg2's, for bytea
        values = [None if value is None else bytes(value) for value in values]
    elif kinds == {datetime}:
        values = _in_utc(values)
    return pandas.Series(values, dtype=None if kinds else object)


def _in_utc(values: list[datetime | None]) -> list[datetime | None]:
    """Moments in UTC: the offsets that psycopg2 gives change in spring and autumn, and pandas has no type for both."""
    try:
        return [value if value is None or value.tzinfo is None else value.astimezone(UTC) for value in values]
    except OverflowError:  # in the year 1 or 9999
        return values
