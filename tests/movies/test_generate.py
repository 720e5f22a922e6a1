"""Generated movies: the same ones for the same seed, quickly enough, and fit for the table."""

from __future__ import annotations

from itertools import islice

from examples.movies.generate import generate_movies
from examples.movies.models import Movie


def test_the_same_seed_gives_the_same_movies_and_another_seed_others() -> None:
    first = list(generate_movies(300, seed=1))
    assert list(generate_movies(300, seed=1)) == first
    assert list(generate_movies(300, seed=2)) != first


def test_more_movies_begin_with_the_same_ones() -> None:
    assert list(islice(generate_movies(1000), 50)) == list(generate_movies(50))


def test_two_generators_at_once_do_not_disturb_each_other() -> None:
    alone = list(generate_movies(20))
    both = list(zip(generate_movies(20), generate_movies(20), strict=True))
    assert [left for left, _ in both] == [right for _, right in both] == alone


def test_movies_have_keys_of_their_own_and_only_columns_of_the_table() -> None:
    rows = list(generate_movies(500))
    assert len({row["import_key"] for row in rows}) == len(rows) == 500
    assert {frozenset(row) for row in rows} == {frozenset(rows[0])}
    assert set(rows[0]) <= set(Movie.__table__.columns.keys())
    assert len({row["title"] for row in rows}) > 250
