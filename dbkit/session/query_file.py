"""``query_file``: a statement that stands in a file of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import exc

from dbkit.session.query import execute_query

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dbkit.session.query import Params
    from dbkit.session.result import QueryResult
    from dbkit.session.tags import Tags


def query_file(
    engine: Engine, path: str | os.PathLike[str], params: Params = None, *, tags: Tags = None
) -> QueryResult:
    """Execute the SQL text in a file, as ``execute_query`` does.

    Args:
        engine: where to.
        path: the file, in UTF-8. It is read each time.
        params, tags: as for ``execute_query``. With a mapping, a ``:name`` in one of the file's comments counts too.

    Raises:
        OSError: the file cannot be read.
        sqlalchemy.exc.ArgumentError: it is not in UTF-8, or there is no statement in it.
        whatever ``execute_query`` raises; a note names the file.
    """
    try:
        query = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise exc.ArgumentError(f"{os.fspath(path)} is not in UTF-8: {error}") from error
    if not query.strip():
        raise exc.ArgumentError(f"{os.fspath(path)} is empty")
    try:
        return execute_query(engine, query, params, tags=tags)
    except exc.StatementError as error:
        error.add_note(f"The statement stands in {os.fspath(path)}.")
        raise
