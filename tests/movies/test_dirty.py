"""Cleaning one record: each kind of dirt, and what arrives."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.movies.dirty import Kind, Note, clean, infer_as_of


def cleaned(as_of: int = 2010, **fields: Any) -> tuple[dict[str, Any], list[Note]]:
    record = {"Title": "M"} | {name.replace("_", " "): value for name, value in fields.items()}
    row, notes = clean(record, 7, as_of=as_of)
    assert row is not None
    return row, notes


def test_a_clean_record_arrives_whole_and_without_a_note() -> None:
    record = {
        "Title": "The Land Girls",
        "US Gross": 146083,
        "Worldwide Gross": 146084,
        "US DVD Sales": 12,
        "Production Budget": 8000000,
        "Release Date": "Jun 12 1998",
        "MPAA Rating": "R",
        "Running Time min": 111,
        "Distributor": "Gramercy",
        "Source": "Based on Book/Short Story",
        "Major Genre": "Drama",
        "Creative Type": "Historical Fiction",
        "Director": "David Leland",
        "Rotten Tomatoes Rating": 55,
        "IMDB Rating": 6.1,
        "IMDB Votes": 1071,
    }
    assert clean(record, 0, as_of=2010) == (
        {
            "title": "The Land Girls",
            "us_gross": 146083,
            "worldwide_gross": 146084,
            "us_dvd_sales": 12,
            "production_budget": 8000000,
            "release_date": date(1998, 6, 12),
            "mpaa_rating": "R",
            "running_time_minutes": 111,
            "distributor": "Gramercy",
            "source": "Based on Book/Short Story",
            "genre": "Drama",
            "creative_type": "Historical Fiction",
            "director": "David Leland",
            "rotten_tomatoes_rating": 55,
            "imdb_rating": 6.1,
            "imdb_votes": 1071,
        },
        [],
    )


def test_every_record_gives_the_same_columns() -> None:
    row, notes = cleaned()
    assert set(row) == set(clean({"Title": "N", "US Gross": 1}, 0, as_of=2010)[0] or ())
    assert notes == []
    assert {value for column, value in row.items() if column != "title"} == {None}


@pytest.mark.parametrize(
    ("number", "text"), [(1776, "1776"), (9, "9"), (0, "0"), (8.5, "8.5"), (10**30, "1" + "0" * 30), (True, "True")]
)
def test_a_number_as_title_becomes_text(number: float, text: str) -> None:
    row, notes = cleaned(Title=number)
    assert row["title"] == text
    assert [(note.kind, note.position, note.title) for note in notes] == [(Kind.NUMBER_AS_TITLE, 7, text)]


@pytest.mark.parametrize("title", [None, "", "   ", "\x00", [], {}, float("nan"), float("inf")])
def test_a_record_without_a_title_is_skipped_with_its_position_and_the_reason(title: object) -> None:
    row, (note,) = clean({"Title": title, "US Gross": 1}, 3053, as_of=2010)
    assert row is None
    assert note.kind is Kind.SKIPPED
    assert str(note).startswith("record 3053: Title ")
    assert note.reason == "no title"


@pytest.mark.parametrize("record", [None, 1, "Casablanca", ["Casablanca"], {}])
def test_what_is_no_movie_at_all_is_skipped(record: object) -> None:
    row, notes = clean(record, 1, as_of=2010)
    assert row is None
    assert [note.kind for note in notes] == [Kind.SKIPPED]


@pytest.mark.parametrize("title", ["Alien³", "CachÈ", " M ", "Ri¢hie Ri¢h", "千と千尋の神隠し", "😀"])
def test_a_title_stays_as_it_was_written(title: str) -> None:
    row, notes = cleaned(Title=title)
    assert (row["title"], notes) == (title, [])


def test_a_text_that_cannot_be_stored_is_repaired_and_told() -> None:
    row, notes = cleaned(Title="A\x00B", Director="C\ud800D")
    assert (row["title"], row["director"]) == ("A\ufffdB", "C\ufffdD")
    row, more = cleaned(Title="x" * 501)
    assert row["title"] == "x" * 500
    assert {note.kind for note in [*notes, *more]} == {Kind.TEXT_REPAIRED}
    assert [note.field for note in [*notes, *more]] == ["Title", "Director", "Title"]


@pytest.mark.parametrize(
    ("written", "released"),
    [
        ("Jun 12 1998", date(1998, 6, 12)),
        ("Dec 31 1928", date(1928, 12, 31)),
        ("Jan 01 2010", date(2010, 1, 1)),
        ("Dec 23 2011", date(2011, 12, 23)),  # announced for the year after
        ("1998-06-12", date(1998, 6, 12)),
        ("12-Jun-98", date(1998, 6, 12)),
        ("Jun 12 11", date(2011, 6, 12)),
        ("Jun 12 12", date(1912, 6, 12)),
        ("december 1, 1999", date(1999, 12, 1)),
        ("Dec 28 1895", date(1895, 12, 28)),
        ("Feb 29 2000", date(2000, 2, 29)),
    ],
)
def test_a_date_is_read(written: str, released: date) -> None:
    row, notes = cleaned(Release_Date=written)
    assert (row["release_date"], notes) == (released, [])


@pytest.mark.parametrize(
    ("written", "released"),
    [
        ("Dec 15 2039", date(1939, 12, 15)),
        ("Feb 08 2015", date(1915, 2, 8)),
        ("Apr 07 2033", date(1933, 4, 7)),
        ("Feb 29 2040", date(1940, 2, 29)),
    ],
)
def test_a_year_far_in_the_future_goes_back_a_century(written: str, released: date) -> None:
    row, (note,) = cleaned(Release_Date=written)
    assert row["release_date"] == released
    assert note.kind is Kind.YEAR_CORRECTED
    assert written in str(note)
    assert str(released) in str(note)


@pytest.mark.parametrize(
    "written",
    [
        "Jun 01 2012",  # announced, or 1912: nobody can tell
        "Jun 01 2014",
        "Jun 01 2150",  # no reading of two digits gives this
        "Jan 01 1700",
        "Feb 30 1998",
        "Feb 29 1900",
        "Xyz 12 1998",
        "1998-13-01",
        "0000-00-00",
        "soon",
        "1998",
        "",
        19980612,
        ["Jun 12 1998"],
        True,
    ],
)
def test_a_date_that_cannot_be_is_left_empty_and_told(written: object) -> None:
    row, (note,) = cleaned(Release_Date=written)
    assert row["release_date"] is None
    assert (note.kind, note.field) == (Kind.EMPTIED, "Release Date")


def test_what_is_the_future_depends_on_when_the_list_was_made() -> None:
    assert cleaned(as_of=2026, Release_Date="Feb 08 2015")[0]["release_date"] == date(2015, 2, 8)
    assert cleaned(as_of=2026, Release_Date="Dec 15 2039")[0]["release_date"] == date(1939, 12, 15)
    assert cleaned(as_of=1985, Release_Date="Dec 15 1999")[0]["release_date"] is None  # 1899? no misreading gives 19xx


@pytest.mark.parametrize(
    ("field", "column", "bad"),
    [
        ("US Gross", "us_gross", "12,000"),
        ("US Gross", "us_gross", -1),
        ("US Gross", "us_gross", 1.5),
        ("US Gross", "us_gross", True),
        ("Worldwide Gross", "worldwide_gross", 2**63),
        ("Worldwide Gross", "worldwide_gross", 10**400),
        ("Worldwide Gross", "worldwide_gross", 1e300),
        ("Worldwide Gross", "worldwide_gross", float("nan")),
        ("Running Time min", "running_time_minutes", 0),
        ("IMDB Votes", "imdb_votes", 2**31),
        ("IMDB Rating", "imdb_rating", 10.5),
        ("IMDB Rating", "imdb_rating", "6.1"),
        ("IMDB Rating", "imdb_rating", float("inf")),
        ("Rotten Tomatoes Rating", "rotten_tomatoes_rating", 101),
        ("Production Budget", "production_budget", [1]),
        ("Director", "director", 7),
        ("Major Genre", "genre", {}),
    ],
)
def test_a_value_that_cannot_be_is_left_empty_and_told_and_the_movie_arrives(
    field: str, column: str, bad: object
) -> None:
    row, notes = clean({"Title": "M", field: bad}, 7, as_of=2010)
    assert row is not None
    assert row["title"] == "M"
    assert row[column] is None
    assert [(note.kind, note.position, note.title, note.field) for note in notes] == [(Kind.EMPTIED, 7, "M", field)]


def test_a_whole_number_may_be_written_with_a_point() -> None:
    row, notes = cleaned(US_Gross=146083.0)
    assert (row["us_gross"], notes) == (146083, [])


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


@given(record=st.dictionaries(st.sampled_from(["Title", "Release Date", "US Gross", "Director"]), _VALUES) | _VALUES)
def test_nothing_aborts_and_nothing_is_skipped_or_changed_in_silence(record: Any) -> None:
    row, notes = clean(record, 0, as_of=2010)
    assert (row is None) == any(note.kind is Kind.SKIPPED for note in notes)
    if row is not None and row["title"] != record["Title"]:
        assert any(note.field == "Title" for note in notes)


def dated(*years: int) -> list[dict[str, str]]:
    return [{"Title": "M", "Release Date": f"Jun 12 {year}"} for year in years]


def test_the_year_of_a_list_is_its_last_well_filled_year() -> None:
    records = dated(*[2008] * 50, *[2009] * 60, *[2010] * 20, 2011, 2011, 2015, 2039)
    assert infer_as_of(records, this_year=2026) == 2010


def test_the_year_of_a_list_is_not_told_by_few_dates_nor_after_today() -> None:
    assert infer_as_of(dated(1950, 1990, 2039), this_year=2026) == 2026
    assert infer_as_of([], this_year=2026) == 2026
    assert infer_as_of([None, 3, {"Release Date": 5}, {"Release Date": "soon"}], this_year=2026) == 2026
    assert infer_as_of(dated(*[2040] * 200), this_year=2026) == 2026


def test_the_real_file(movies_json: Any) -> None:
    records = json.loads(movies_json.read_text(encoding="utf-8"))
    as_of = infer_as_of(records, this_year=date.max.year)
    rows, notes = [], []
    for position, record in enumerate(records):
        row, found = clean(record, position, as_of=as_of)
        rows += [row] if row else []
        notes += found
    by_title = {row["title"]: row["release_date"] for row in rows}

    assert (len(records), len(rows), as_of) == (3201, 3200, 2010)
    assert [note.position for note in notes if note.kind is Kind.SKIPPED] == [3053]
    assert {note.title for note in notes if note.kind is Kind.NUMBER_AS_TITLE} == {
        *("1776", "1941", "1408", "2012", "2046", "21", "300", "9", "54")
    }
    assert by_title["Gone with the Wind"] == date(1939, 12, 15)
    assert by_title["The Birth of a Nation"] == date(1915, 2, 8)
    assert by_title["King Kong (1933)"] == date(1933, 4, 7)
    assert by_title["The Adventures of Tintin: Secret of the Unicorn"] == date(2011, 12, 23)
    assert max(row["release_date"] for row in rows).year == 2011
    assert {note.kind for note in notes} == {Kind.SKIPPED, Kind.NUMBER_AS_TITLE, Kind.YEAR_CORRECTED}
