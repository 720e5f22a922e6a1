"""``QueryResult.to_pandas()``, with pandas: no value is changed, and both drivers give the same types."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pandas
import pytest

from dbkit.session.query import execute_query

from .test_export import result

COLUMNS = """
    1::int AS whole, 9007199254740993 AS large, 1.5::float8 AS real, 2.50::numeric AS exact, 'a'::text AS word,
    true AS truth, TIMESTAMPTZ '2024-01-01 00:00+00' AS moment, TIMESTAMP '2999-01-01 00:00' AS wall,
    DATE '2024-02-29' AS day, INTERVAL '1 day' AS span,
    '{"a": [1]}'::jsonb AS doc, ARRAY[1, 2] AS list, '\\xff'::bytea AS raw
"""
TYPES = {
    "real": "float64", "exact": "object", "moment": "datetime64[us, UTC]", "wall": "datetime64[us]", "day": "object",
    "span": "timedelta64[us]", "doc": "object", "list": "object", "raw": "object",
}  # fmt: skip


def types(frame: pandas.DataFrame) -> dict[str, str]:
    return {name: str(kind) for name, kind in frame.dtypes.items()} if len(frame.columns) else {}


def test_each_column_has_its_type(engine):
    frame = execute_query(engine, f"SELECT {COLUMNS}").to_pandas()
    found = types(frame)
    assert found.pop("word") in ("str", "object")  # pandas 3, pandas 2
    assert found == TYPES | {"whole": "int64", "large": "int64", "truth": "bool"}
    row = frame.iloc[0]
    assert (row["whole"], row["large"], row["real"], row["word"]) == (1, 9007199254740993, 1.5, "a")
    assert (row["exact"], row["day"], row["doc"], row["list"]) == (
        Decimal("2.50"),
        date(2024, 2, 29),
        {"a": [1]},
        [1, 2],
    )
    assert (row["moment"], row["wall"]) == (datetime(2024, 1, 1, tzinfo=UTC), datetime(2999, 1, 1))
    assert row["raw"] == b"\xff" and isinstance(row["raw"], bytes)
    assert row["span"] == pandas.Timedelta(days=1)


def test_a_null_changes_no_other_value(engine):
    nulls = ", ".join("NULL" for _ in COLUMNS.split(" AS ")[1:])
    frame = execute_query(engine, f"SELECT {COLUMNS} UNION ALL SELECT {nulls}").to_pandas()
    found = types(frame)
    found.pop("word")
    assert found == TYPES | {"whole": "Int64", "large": "Int64", "truth": "boolean"}
    assert frame["large"][0] == 9007199254740993  # as a float it would end in 2
    assert frame["truth"][0]
    assert frame.isna().iloc[1].all()
    assert frame["raw"][0] == b"\xff"


def test_integers_of_any_size_are_kept():
    for largest in (2**63 - 1, -(2**63 - 1), 2**63, 2**100):
        found = result(("n",), (largest,), (None,)).to_pandas()["n"]
        assert found[0] == largest
        assert str(found.dtype) == ("Int64" if abs(largest) < 2**63 else "object")


def test_a_moment_that_utc_cannot_hold_is_kept():
    east = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert result(("at",), (east,)).to_pandas()["at"][0] == east


def test_moments_on_both_sides_of_a_change_of_clocks_have_one_type(engine):
    with engine.connect() as connection:
        connection.exec_driver_sql("SET TIME ZONE 'Europe/Berlin'")
        connection.commit()
        query = "SELECT TIMESTAMPTZ '2024-01-01 00:00+00' AS at UNION ALL SELECT '2024-07-01 00:00+00' ORDER BY 1"
        rows = connection.exec_driver_sql(query).all()
        connection.exec_driver_sql("RESET TIME ZONE")
        connection.commit()
    assert [row.at.utcoffset().total_seconds() for row in rows] == [3600, 7200]
    frame = result(("at",), *rows).to_pandas()
    assert types(frame) == {"at": "datetime64[us, UTC]"}
    assert list(frame["at"]) == [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)]


def test_an_empty_result_has_its_columns(engine):
    frame = execute_query(engine, "SELECT 1 AS a, 'x' AS b WHERE false").to_pandas()
    assert (frame.shape, types(frame)) == ((0, 2), {"a": "object", "b": "object"})
    assert execute_query(engine, "SET application_name TO 'x'").to_pandas().shape == (0, 0)
    assert execute_query(engine, "SELECT").to_pandas().shape in ((1, 0), (0, 0))


def test_columns_of_the_same_name_are_both_there(engine):
    frame = execute_query(engine, "SELECT 1 AS a, 'x' AS a, 2 AS b").to_pandas()
    assert (list(frame.columns), frame.iloc[0].to_list()) == (["a", "a", "b"], [1, "x", 2])
    assert frame["a"].shape == (1, 2)


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_floats_that_are_no_numbers_stay_such(engine, value):
    found = execute_query(engine, f"SELECT '{value}'::float8 AS x").to_pandas()["x"][0]
    assert math.isnan(found) if value == "NaN" else math.isinf(found)
