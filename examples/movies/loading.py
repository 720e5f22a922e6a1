"""Movies into the table: quickly, in batches, and never twice."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ARRAY, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert

from examples.movies.dirty import Note, Row, clean
from examples.movies.models import Movie

if TYPE_CHECKING:
    from sqlalchemy import CursorResult, Table

    from dbkit import DatabaseConnectionManager

BATCH = 2_000
"""Rows in one statement and one transaction: enough that the round trip no longer counts."""


class BadFileError(ValueError):
    """A file that is no list of movies. The message says what is wrong with it."""


def read_records(path: Path) -> list[Any]:
    """Read a file of movies: a JSON list of objects.

    Raises:
        BadFileError: it cannot be read, is not JSON, not a list, or holds no object.
    """
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # bad JSON and bad UTF-8 are ValueErrors both
        raise BadFileError(f"{path}: not JSON: {error}") from error
    if not isinstance(records, list):
        raise BadFileError(f"{path}: holds one {type(records).__name__}, not a list of movies")
    if not any(isinstance(record, dict) for record in records):
        raise BadFileError(f"{path}: {len(records):,} records, and none of them is an object with a Title")
    return records


def prepare(records: Iterable[Any], *, as_of: int) -> tuple[list[Row], list[Note]]:
    """Clean the records of a file and give each row a key: a digest of its record.

    So the same record is the same movie whichever file it comes from, and two equal records in one file are two.

    Returns:
        The rows to load, and whatever was wrong.
    """
    rows: list[Row] = []
    notes: list[Note] = []
    seen: Counter[str] = Counter()
    for position, record in enumerate(records):
        row, found = clean(record, position, as_of=as_of)
        notes += found
        if row is not None:
            digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]
            seen[digest] += 1
            rows.append({"import_key": f"record:{digest}:{seen[digest]}", **row})
    return rows, notes


def load_movies(
    db: DatabaseConnectionManager,
    rows: Iterable[Row],
    *,
    batch: int = BATCH,
    on_progress: Callable[[int, int], None] = lambda done, new: None,
) -> int:
    """Load rows that are not there yet, each batch in a transaction of its own.

    If it ends early the batches before stay, and doing it again completes the work.

    Args:
        db: where to.
        rows: values by column of ``Movie``, ``import_key`` among them; all with the same columns. Taken as they come.
        batch: rows in one transaction.
        on_progress: called after each batch with the rows done and the movies that were new, so far. What it raises
            ends the load.

    Returns:
        How many movies were new.
    """
    table = cast("Table", Movie.__table__)  # not the class: that would have the ORM look at every row
    remaining: Iterator[Row] = iter(rows)
    done = new = 0
    while chunk := list(islice(remaining, batch)):
        columns = list(chunk[0])
        arrays = [bindparam(name, type_=ARRAY(table.c[name].type)) for name in columns]
        incoming = func.unnest(*arrays).table_valued(*columns).render_derived()
        statement = (
            insert(table)
            .from_select(columns, select(*(incoming.c[name] for name in columns)))
            .on_conflict_do_nothing(index_elements=[table.c.import_key])
        )
        with db.session_scope() as session:
            result = session.execute(statement, {name: [row[name] for row in chunk] for name in columns})
            new += cast("CursorResult[Any]", result).rowcount
        done += len(chunk)
        on_progress(done, new)
    return new
