"""``QueryResult`` by itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import exc
from sqlalchemy.engine import result_tuple

from dbkit.session.result import QueryResult

row = result_tuple(("id", "name"))


def result(*rows) -> QueryResult:
    return QueryResult([row(values) for values in rows], ("id", "name"), len(rows))


def test_it_is_an_immutable_sequence():
    rows = result((1, "a"), (2, "b"), (3, "c"))
    assert isinstance(rows, Sequence)
    assert len(rows) == 3
    assert rows[-1].name == "c"
    assert (2, "b") in rows
    assert rows.index((2, "b")) == 1
    assert [r.id for r in reversed(rows)] == [3, 2, 1]
    for change in ("columns", "rowcount", "anything"):
        with pytest.raises(AttributeError):
            setattr(rows, change, 1)
    with pytest.raises(TypeError):
        rows[0] = 1
    with pytest.raises(IndexError):
        rows[3]


def test_slices_are_results():
    part = result((1, "a"), (2, "b"), (3, "c"))[1:]
    assert isinstance(part, QueryResult)
    assert part.scalars() == (2, 3)
    assert (part.columns, part.rowcount) == (("id", "name"), 3)


def test_equality():
    assert result((1, "a")) == result((1, "a"))
    assert result((1, "a")) == [(1, "a")]
    assert result((1, "a")) == ((1, "a"),)
    assert result((1, "a")) != [(1, "b")]
    assert result() == []
    assert result() != "  "
    assert QueryResult([], ("a",), 0) != QueryResult([], ("b",), 0)
    with pytest.raises(TypeError):
        hash(result())


def test_single_rows():
    several, single, none = result((1, "a"), (2, "b")), result((1, "a")), result()
    assert several.first() == single.one() == single.one_or_none() == (1, "a")
    assert none.first() is none.one_or_none() is none.scalar() is None
    assert single.scalar() == single.scalar_one() == 1
    for ask in (several.one, several.one_or_none, several.scalar_one):
        with pytest.raises(exc.MultipleResultsFound, match="2 rows"):
            ask()
    for ask in (none.one, none.scalar_one):
        with pytest.raises(exc.NoResultFound):
            ask()


def test_columns_and_mappings():
    rows = result((1, "a"), (2, "b"))
    assert rows.scalars() == (1, 2)
    assert rows.scalars(1) == rows.scalars("name") == ("a", "b")
    assert [dict(m) for m in rows.mappings()] == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    assert rows.all() == [(1, "a"), (2, "b")]
    with pytest.raises(KeyError):
        rows.scalars("nope")


def test_repr_is_short():
    shown = repr(result(*((n, "x" * 1000) for n in range(1000))))
    assert shown.startswith("QueryResult(columns=('id', 'name'), rowcount=1000, rows=[(0, ")
    assert "995 more" in shown
    assert len(shown) < 500
