"""Movies out of thin air, for trying things out: any number, quickly, and the same ones for the same seed.

Needs factory-boy, which the extra ``testing`` installs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from random import Random
from typing import TypeVar

import factory

from examples.movies.dirty import Row

SEED = 86_537

_T = TypeVar("_T")


def _words(text: str) -> list[str]:
    return text.split()


_TITLE_WORDS = (
    _words("Last Silent Golden Broken Secret Burning Lost Crimson Endless Hollow Savage Winter Paper Electric"),
    _words("River Empire Witness Garden Horizon Promise Stranger Kingdom Shadow Harvest Signal Orchard"),
    ("", "", "", "Returns", "at Dawn", "of Paris", "Forever", "in the Rain", "II", "III"),
)
_DIRECTOR_NAMES = (
    _words("Ada Akira Agnès Billy Chloé Fritz Greta Ida Jane Kathryn Lina Mira Orson Satyajit Spike Wim"),
    _words("Alvarez Bergmann Campbell Duval Eriksen Fontaine Ghosh Holm Ivanov Jones Kurokawa Lindqvist"),
)
_GENRES = ("Drama", "Comedy", "Action", "Adventure", "Thriller/Suspense", "Horror", "Musical", "Western")
_MPAA_RATINGS = ("G", "PG", "PG-13", "R", None)
_DAYS = range(date(1930, 1, 1).toordinal(), date(2011, 1, 1).toordinal())


def movie_factory(seed: int = SEED) -> type[factory.Factory]:
    """A factory of movies' values, by column of ``Movie``; all its chance is its own and comes from ``seed``.

    Each declaration costs its time 86,537 times over, so what says nothing here is left to the database.
    """
    dice = Random(seed)

    class MovieFactory(factory.Factory):
        class Meta:
            model = dict

        import_key = factory.Sequence(lambda n: f"generated:{seed}:{n}")
        title = factory.LazyFunction(lambda: "The " + " ".join(_pick(dice, words) for words in _TITLE_WORDS).rstrip())
        release_date = factory.LazyFunction(lambda: date.fromordinal(_pick(dice, _DAYS)))
        director = factory.LazyFunction(lambda: " ".join(_pick(dice, names) for names in _DIRECTOR_NAMES))
        genre = factory.LazyFunction(lambda: _pick(dice, _GENRES))
        mpaa_rating = factory.LazyFunction(lambda: _pick(dice, _MPAA_RATINGS))
        worldwide_gross = factory.LazyFunction(lambda: int(400_000 * min(dice.paretovariate(1.1), 7_000)))
        imdb_rating = factory.LazyFunction(lambda: round(dice.triangular(1, 10, 7), 1))

    return MovieFactory


def generate_movies(count: int, *, seed: int = SEED) -> Iterator[Row]:
    """Make movies one by one.

    Args:
        count: how many.
        seed: the same seed gives the same movies; more of them begin with the same ones.

    Yields:
        The values of one movie, by column of ``Movie``, with a key of its own so that it is never loaded twice.
    """
    factory_ = movie_factory(seed)
    for _ in range(count):
        yield factory_.build()


def _pick(dice: Random, choices: Sequence[_T]) -> _T:
    return choices[int(dice.random() * len(choices))]  # several times faster than Random.choice
