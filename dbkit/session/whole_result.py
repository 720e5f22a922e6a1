"""A statement's whole result in memory, through SQLAlchemy's ``Connection``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dbkit.session.result import QueryResult

if TYPE_CHECKING:
    from sqlalchemy import CursorResult

WHOLE_RESULT: Mapping[str, Any] = {"stream_results": False, "yield_per": None, "preserve_rowcount": True}
"""Goes over the engine's and the statement's own options: a cursor at the server has no place in autocommit mode, and
the rows outlive the connection."""


def detached(result: CursorResult[Any]) -> QueryResult:
    """Read all of a result.

    Args:
        result: of an execution with ``WHOLE_RESULT``.
    """
    if not result.returns_rows:
        return QueryResult((), (), result.rowcount)
    rows = result.all()
    return QueryResult(rows, result.keys(), len(rows))
