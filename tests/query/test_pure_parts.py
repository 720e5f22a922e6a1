"""What needs no database: batches, rows in order, tags, template strings, the text format of COPY."""

from __future__ import annotations

import datetime
import enum
import itertools
import uuid
from decimal import Decimal

import pytest
from sqlalchemy import exc

from dbkit.drivers.copy_text import CHUNK, CopyStream, copy_lines
from dbkit.session import templates
from dbkit.session.batches import batches, counted, in_order, with_first
from dbkit.session.tags import comment, tagged

from .doubles import interpolation


def test_batches_are_read_no_further_than_they_are_asked_for():
    numbers = itertools.count()
    assert next(batches(numbers, 3)) == [0, 1, 2]
    assert next(numbers) == 3
    assert list(batches([1, 2, 3], 2)) == [[1, 2], [3]]
    assert list(batches([], 2)) == []


def test_the_first_item_is_seen_and_not_lost():
    first, everything = with_first(n for n in (1, 2))
    assert (first, list(everything)) == (1, [1, 2])
    assert with_first([]) is None


def test_rows_come_in_the_order_of_the_columns():
    rows = [{"b": 2, "a": 1}, (3, 4), [5, 6], range(7, 9)]
    assert [list(row) for row in in_order(rows, ("a", "b"), only=True)] == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert list(in_order([{"a": 1, "more": 2}], ("a",), only=False)) == [[1]]


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ((1,), ValueError, "row 2 has 1 values, and there are 2 columns: a, b"),
        ({"a": 1}, ValueError, "row 2 has no 'b'"),
        ({"a": 1, "b": 2, "c": 3}, ValueError, "row 2 has c, which the first row has not"),
        ("ab", TypeError, "row 2 is of str"),
        (7, TypeError, "row 2 is of int"),
    ],
)
def test_a_row_that_does_not_fit_is_named(row, error, message):
    with pytest.raises(error, match=message):
        list(in_order([(1, 2), row], ("a", "b"), only=True))


@pytest.mark.parametrize(("rows", "told"), [(0, [0]), (1, [1]), (4, [2, 4]), (5, [2, 4, 5])])
def test_progress_is_told_every_so_often_and_at_the_end(rows, told):
    seen = []
    assert list(counted(range(rows), seen.append, 2)) == list(range(rows))
    assert seen == told


def test_tags_are_sorted_quoted_and_cannot_end_the_comment():
    made = comment({"route": "/films/:id", "controller": "a'b*/; DROP TABLE x --", "traceparent": None, "n": 7})
    assert made == "/*controller='a%27b%2A%2F%3B%20DROP%20TABLE%20x%20--',n='7',route='%2Ffilms%2F%3Aid'*/"
    assert comment({}) == comment(None) == comment({"a": None}) == ""
    for wrong in ("a=b", {1: "x"}, [("a", "b")]):
        with pytest.raises(TypeError, match="tags must be a mapping"):
            comment(wrong)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", "SELECT 1 /*a='%2F'*/"),
        ("SELECT 1 ;\n", "SELECT 1 /*a='%2F'*/;"),
        ("SELECT 1 -- one;", "SELECT 1 -- one;\n/*a='%2F'*/"),
        ("SELECT 1 -- one\n + 1", "SELECT 1 -- one\n + 1 /*a='%2F'*/"),
    ],
)
def test_the_comment_stands_behind_the_statement(sql, expected):
    assert tagged(sql, "/*a='%2F'*/", formatted=False) == expected
    assert tagged(sql, "/*a='%2F'*/", formatted=True) == expected.replace("%", "%%")
    assert tagged(sql, "", formatted=True) == sql


def test_the_values_of_a_template_are_bound(template):
    made = template("SELECT '100%' WHERE a = ", "'; DROP", " AND b = ", [1, 2], "")
    assert templates.is_template(made)
    assert templates.bound(made) == ("SELECT '100%%' WHERE a = %s AND b = %s", ("'; DROP", [1, 2]))
    assert templates.bound(template("SELECT '100%'")) == ("SELECT '100%'", ())
    inner = template(" AND b = ", 2, " -- 5%")
    assert templates.bound(template("WHERE a = ", 1, "", inner, "")) == ("WHERE a = %s AND b = %s -- 5%%", (1, 2))
    assert templates.bound(template("a", template("%"), "b")) == ("a%b", ())


@pytest.mark.parametrize(
    ("wrong", "written"), [(interpolation(1, "x", "r"), r"\{x!r\}"), (interpolation(1, "y", None, ">5"), r"\{y:>5\}")]
)
def test_a_format_in_a_template_is_refused(template, wrong, written):
    with pytest.raises(exc.ArgumentError, match=written + ".*never formatted"):
        templates.bound(template("SELECT ", wrong, ""))


def test_before_python_3_14_nothing_is_a_template(monkeypatch):
    monkeypatch.setattr(templates, "Template", None)
    assert not templates.is_template("SELECT 1")


class Colour(enum.Enum):
    RED = "r"


class Size(enum.StrEnum):
    BIG = "b"


def lines(*rows, unwrap=lambda value: value):
    return list(copy_lines(rows, unwrap))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, r"\N"),
        ("\\N", r"\\N"),
        ("a\tb\nc\rd\\.", r"a\tb\nc\rd\\."),
        ("", ""),
        (7, "7"),
        (True, "t"),
        (1e300, "1e+300"),
        (float("-inf"), "-Infinity"),
        (Decimal("1.50"), "1.50"),
        (datetime.date(24, 2, 29), "0024-02-29"),
        (datetime.datetime(2024, 2, 29, 1, tzinfo=datetime.UTC), "2024-02-29T01:00:00+00:00"),
        (datetime.time(1, 2), "01:02:00"),
        (datetime.timedelta(days=-1, seconds=5), "-1 days 5.000000 seconds"),
        (b"\x00\\", r"\\x005c"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([], "{}"),
        ([1, None, [2]], '{"1",NULL,{"2"}}'),
        (['a"b\\c', "NULL", "\t"], r'{"a\\"b\\\\c","NULL","\t"}'),
        ([b"\x01"], r'{"\\\\x01"}'),
        (Colour.RED, "RED"),
        (Size.BIG, "b"),
    ],
)
def test_a_value_in_the_text_format_of_copy(value, written):
    assert lines((1, value)) == [f"1\t{written}\n"]


def test_a_value_that_copy_cannot_write_is_named():
    with pytest.raises(TypeError, match=r"row 2, value 1: there is no rule for a value of dict: the column is not"):
        lines((1,), ({},))
    with pytest.raises(TypeError, match=r"give a list for an array"):
        lines(((1, 2),))
    assert lines(({},), unwrap=lambda value: "unwrapped") == ["unwrapped\n"]


def test_the_stream_makes_lines_as_they_are_read_and_keeps_the_error():
    def source():
        for _ in range(CHUNK // 10 + 1):
            yield "x" * 9 + "\n"
        raise ZeroDivisionError

    stream = CopyStream(source())
    assert CHUNK <= len(stream.read(10)) < CHUNK + 10
    assert stream.error is None
    with pytest.raises(ZeroDivisionError):
        stream.read(10)
    assert isinstance(stream.error, ZeroDivisionError)
