"""Where the movies come from: a file, or thin air."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from examples.movies.arguments import COUNT
from examples.movies.dirty import Note, Row, infer_as_of
from examples.movies.loading import BadFileError, prepare, read_records


class MissingExtraError(Exception):
    """Something is needed that an extra installs; the message names it."""


@dataclass(frozen=True)
class Intake:
    """Movies to be loaded.

    Attributes:
        origin: a line that says where they come from.
        records: how many records there are.
        total: how many of them are movies.
        rows: those, as values by column of ``Movie``.
        notes: what was wrong with the records.
    """

    origin: str
    records: int
    total: int
    rows: Iterable[Row]
    notes: list[Note] = field(default_factory=list)


def take_in(options: argparse.Namespace) -> Intake:
    """Read and clean the file of ``--movies``, or get ready to make movies up.

    Raises:
        BadFileError: the file is no list of movies, or none of its records is one.
        MissingExtraError: factory-boy is needed and not installed.
    """
    if options.movies is None:
        return _made_up(options.count or COUNT)
    records = read_records(options.movies)[: options.count]
    as_of = options.as_of or infer_as_of(records, this_year=datetime.now().astimezone().year)
    told = "as --as-of says" if options.as_of else "by its own dates; --as-of YEAR says otherwise"
    rows, notes = prepare(records, as_of=as_of)
    if not rows:
        raise BadFileError(f"{options.movies}: {len(records):,} records, and none of them has a title")
    origin = f"{options.movies}: {len(records):,} records, a list of the year {as_of} ({told})"
    return Intake(origin, len(records), len(rows), rows, notes)


def _made_up(count: int) -> Intake:
    try:
        from examples.movies.generate import SEED, generate_movies
    except ModuleNotFoundError as error:
        if error.name != "factory":
            raise
        raise MissingExtraError(
            "generated movies need factory-boy: pip install 'dbkit-postgres[testing]', or give --movies FILE"
        ) from error
    return Intake(f"{count:,} generated movies (seed {SEED})", count, count, generate_movies(count))
