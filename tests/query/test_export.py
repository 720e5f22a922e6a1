"""Rows for the world outside: dictionaries, CSV, JSON, pandas, a notebook."""

from __future__ import annotations

import datetime
import enum
import io
import ipaddress
import json
import pickle
import sys
import uuid
from decimal import Decimal

import pytest
from psycopg2.extras import NumericRange
from sqlalchemy import exc
from sqlalchemy.engine import result_tuple

from dbkit import ExtraMissingError
from dbkit.session.export import duration, plain
from dbkit.session.query import execute_query
from dbkit.session.result import QueryResult


class Colour(enum.Enum):
    RED = "r"


class Size(enum.StrEnum):
    BIG = "b"


def result(columns, *rows) -> QueryResult:
    return QueryResult(map(result_tuple(columns), rows), columns, len(rows))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (1.5, 1.5),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (Decimal("1.50"), "1.50"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=datetime.UTC), "2024-02-29T01:02:03+00:00"),
        (datetime.timedelta(days=1, hours=2, microseconds=5), "P1DT2H0.000005S"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (ipaddress.ip_address("::1"), "::1"),
        (b"\n\xff", "\\x0aff"),
        (memoryview(b"\n"), "\\x0a"),
        ([1, [Decimal("2")]], [1, ["2"]]),
        ({"a": {"b": b""}}, {"a": {"b": "\\x"}}),
        (Colour.RED, "r"),
        (Size.BIG, "b"),
        (NumericRange(1, 5), "[1, 5)"),
    ],
)
def test_each_value_has_a_rule(value, expected):
    made = plain(value)
    assert (made, type(made)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (datetime.timedelta(0), "PT0S"),
        (datetime.timedelta(days=3), "P3D"),
        (-datetime.timedelta(hours=1, minutes=2, seconds=3.5), "-PT1H2M3.5S"),
    ],
)
def test_spans_of_time_are_iso_8601(span, text):
    assert duration(span) == text


def test_a_value_without_a_rule_names_its_column():
    with pytest.raises(TypeError, match=r"row 2, column thing: .*builtins.object.*thing::text"):
        result(("id", "thing"), (1, None), (2, object())).to_json()


def test_dictionaries_hold_the_values_as_they_are():
    moment = datetime.datetime(2024, 1, 1)
    assert result(("id", "at"), (1, moment)).to_dicts() == [{"id": 1, "at": moment}]


def test_names_that_stand_twice_are_refused_where_one_would_be_lost():
    twice = result(("id", "id"), (1, 2))
    for method in (twice.to_dicts, twice.to_json):
        with pytest.raises(exc.InvalidRequestError, match="two columns are called 'id'"):
            method()
    out = io.StringIO()
    twice.to_csv(out)
    assert out.getvalue() == "id,id\r\n1,2\r\n"


def test_csv_has_a_header_and_every_value_by_its_rule(tmp_path):
    path = tmp_path / "out.csv"
    rows = result(("id", "text", "more"), (1, 'a,"b"\nc', None), (2, "ö", [1, None]), (3, Size.BIG, True))
    rows.to_csv(path)
    assert path.read_bytes().decode() == 'id,text,more\r\n1,"a,""b""\nc",\r\n2,ö,"[1, null]"\r\n3,b,true\r\n'
    rows.to_csv(str(path))
    assert [item.name for item in tmp_path.iterdir()] == ["out.csv"]


def test_csv_replaces_a_file_whole_or_leaves_it(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("before")
    path.chmod(0o640)
    with pytest.raises(TypeError):
        result(("id",), (1,), (object(),)).to_csv(path)
    assert path.read_text() == "before"
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    result(("id",), (1,)).to_csv(link)
    assert path.read_bytes() == b"id\r\n1\r\n"
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert len(list(tmp_path.iterdir())) == 2


def test_json_is_an_array_of_objects():
    rows = result(("id", "price"), (1, Decimal("1.10")), (2, None))
    assert json.loads(rows.to_json()) == [{"id": 1, "price": "1.10"}, {"id": 2, "price": None}]
    assert rows.to_json(indent=2).count("\n") > 5
    assert result(("id",)).to_json() == "[]"


def test_what_the_database_sends_can_be_written(shared_database, engine):
    rows = execute_query(
        engine,
        "SELECT 1.50::numeric AS n, '\\x0aff'::bytea AS b, date '2024-02-29' AS d, ARRAY[1,2] AS a, "
        "'{\"a\": [1]}'::jsonb AS j, '12345678-1234-5678-1234-567812345678'::uuid AS u, NULL AS nothing, "
        "interval '1 day' AS i, int4range(1, 5) AS r, true AS t",
    )
    (made,) = json.loads(rows.to_json())
    assert made["r"].replace(" ", "") == "[1,5)"
    del made["r"]
    assert made == {
        "n": "1.50", "b": "\\x0aff", "d": "2024-02-29", "a": [1, 2], "j": {"a": [1]},
        "u": "12345678-1234-5678-1234-567812345678", "nothing": None, "i": "P1D", "t": True,
    }  # fmt: skip
    rows.to_csv(io.StringIO())
    assert "<td>1.50</td>" in rows._repr_html_()


def test_a_notebook_shows_some_rows_and_escapes_all():
    shown = result(("<b>", "x"), *(("<script>", "y" * 1000) for _ in range(100)))._repr_html_()
    assert "<script>" not in shown
    assert "<b>" not in shown
    assert shown.count("<tr>") == 21
    assert "100 rows, 80 of them not shown" in shown
    assert len(shown) < 10_000


def test_without_pandas_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'dbkit-postgres\[pandas\]'") as caught:
        result(("id",)).to_pandas()
    assert isinstance(caught.value, ImportError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
