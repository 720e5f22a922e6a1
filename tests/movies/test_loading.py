"""Loading: everything arrives once, whatever its state; a bad file is refused before anything is loaded."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbkit import DatabaseConnectionManager
from examples.movies.generate import generate_movies
from examples.movies.loading import BadFileError, load_movies, prepare, read_records


def test_generated_movies_arrive_in_batches_with_progress(db: Any) -> None:
    steps: list[tuple[int, int]] = []
    new = load_movies(db, generate_movies(250), batch=100, on_progress=lambda *step: steps.append(step))
    assert new == 250
    assert steps == [(100, 100), (200, 200), (250, 250)]
    stored = db.execute_query("SELECT import_key, title, release_date, imdb_rating, stock FROM movies ORDER BY id")
    expected = [(*(row[name] for name in ("import_key", "title", "release_date", "imdb_rating")), 100)
                for row in generate_movies(250)]  # fmt: skip
    assert [tuple(row) for row in stored] == expected


def test_loading_again_adds_only_what_is_missing(db: Any) -> None:
    assert load_movies(db, generate_movies(100)) == 100
    db.execute_query("UPDATE movies SET title = 'changed by hand', stock = 3")
    assert load_movies(db, generate_movies(130)) == 30
    assert load_movies(db, generate_movies(130)) == 0
    assert db.execute_query("SELECT count(*) FROM movies WHERE title = 'changed by hand'").scalar() == 100


def test_nothing_to_load_is_no_error(db: Any) -> None:
    assert load_movies(db, []) == 0


def test_an_interrupted_load_keeps_its_batches_and_is_completed_by_the_next(
    fresh_db: DatabaseConnectionManager,
) -> None:
    def interrupt(done: int, new: int) -> None:
        if done == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_movies(fresh_db, generate_movies(100), batch=20, on_progress=interrupt)
    assert fresh_db.stats().in_use == 0
    assert fresh_db.execute_query("SELECT count(*) FROM movies").scalar() == 40
    assert load_movies(fresh_db, generate_movies(100), batch=20) == 60


def test_equal_records_are_movies_of_their_own_and_are_known_again(db: Any) -> None:
    records = [{"Title": "M"}, {"Title": "M"}, {"Title": None}, {"Title": "M", "US Gross": -1}]
    rows, notes = prepare(records, as_of=2010)
    assert [note.position for note in notes] == [2, 3]
    assert load_movies(db, rows) == 3
    assert load_movies(db, prepare(records[::-1], as_of=1999)[0]) == 0


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=600)
_FIELDS = ("US Gross", "Director", "IMDB Rating", "IMDB Votes", "Running Time min", "Rotten Tomatoes Rating")
_DATES = st.dates().map(lambda day: day.strftime("%b %d %Y"))
_RECORDS = st.fixed_dictionaries(
    {"Title": st.text(st.characters(), min_size=1) | st.integers() | st.floats(allow_nan=False)},
    optional=dict.fromkeys(_FIELDS, _VALUES) | {"Release Date": _VALUES | _DATES},
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(_RECORDS, min_size=1, max_size=20))
def test_whatever_is_wrong_with_a_record_the_database_takes_it(db: Any, records: list[Any]) -> None:
    rows, _ = prepare(records, as_of=2010)
    db.execute_query("DELETE FROM movies")
    assert load_movies(db, rows) == len(rows)
    stored = db.execute_query("SELECT title, director, release_date FROM movies ORDER BY id").all()
    assert [tuple(row) for row in stored] == [(row["title"], row["director"], row["release_date"]) for row in rows]


def test_the_real_file_arrives(db: Any, movies_json: Path) -> None:
    records = read_records(movies_json)
    rows, notes = prepare(records, as_of=2010)
    assert load_movies(db, rows) == 3200
    assert load_movies(db, rows) == 0
    assert sum(1 for note in notes if note.reason == "no title") == 1
    query = "SELECT release_date FROM movies WHERE title = :title"
    assert db.execute_query(query, {"title": "Gone with the Wind"}).scalar() == date(1939, 12, 15)
    assert db.execute_query(query, {"title": "1776"}).scalar() == date(1972, 11, 9)
    assert db.execute_query("SELECT sum(worldwide_gross) FROM movies").scalar() == sum(
        record["Worldwide Gross"] or 0 for record in records if record["Title"] is not None
    )


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON"),
        ("[1, 2", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[" + "9" * 5_000 + "]", "not JSON"),
        ('{"Title": "M"}', "holds one dict, not a list"),
        ("3", "holds one int, not a list"),
        ("[]", "0 records"),
        ('[1, "M", null]', "3 records, and none of them is an object"),
    ],
)
def test_a_bad_file_is_refused_with_the_reason(tmp_path: Path, text: str | bytes, told: str) -> None:
    path = write(tmp_path / "bad.json", text)
    with pytest.raises(BadFileError, match=r"bad\.json") as caught:
        read_records(path)
    assert told in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="No such file"):
        read_records(tmp_path / "missing.json")
    with pytest.raises(BadFileError, match="Is a directory"):
        read_records(tmp_path)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert read_records(write(tmp_path / "m.json", b"\xef\xbb\xbf" + json.dumps([{"Title": "M"}]).encode())) == [
        {"Title": "M"}
    ]
