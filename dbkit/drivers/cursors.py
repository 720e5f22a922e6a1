"""Connections that remember their cursors, so that none outlives the loan it was made in.

A cursor that a borrower keeps would run its statements in the transaction of the next one. The driver's own class is
inherited from, so ``isinstance``, ``cursor_factory`` and the driver's functions in C go on working.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from time import monotonic
from typing import Any
from weakref import ref


class RemembersCursors:
    """Mixed into a driver's class of connections.

    Attributes:
        dbkit_cursors: the cursors made in this loan, by address. An address is used again once its cursor is no more,
            so this does not grow with the number of cursors ever made.
        dbkit_cursor_at: when the last one was made, by the monotonic clock.
    """

    dbkit_cursors: dict[int, ref[Any]]
    dbkit_cursor_at: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.dbkit_cursors = {}
        self.dbkit_cursor_at = 0.0
        super().__init__(*args, **kwargs)

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """As the driver's own."""
        cursor = super().cursor(*args, **kwargs)  # type: ignore[misc]  # the driver's class is behind this one
        self.dbkit_cursors[id(cursor)] = ref(cursor)
        self.dbkit_cursor_at = monotonic()
        return cursor


@cache
def remembering(kind: type) -> type:
    """This class of connections, with a memory for cursors."""
    if issubclass(kind, RemembersCursors):
        return kind
    return type(kind.__name__, (RemembersCursors, kind), {"__doc__": kind.__doc__, "__module__": kind.__module__})


def remember(cursors: dict[int, ref[Any]], cursor: Any) -> Any:
    """Remember a cursor of any driver, where its class allows it; return it."""
    with suppress(TypeError):  # no weak references
        cursors[id(cursor)] = ref(cursor)
    return cursor


def none_open(cursors: dict[int, ref[Any]]) -> bool:
    """Whether no remembered cursor is left of a loan. Then they are forgotten, too."""
    if _open_ones(cursors):
        return False
    cursors.clear()
    return True


def still_open(cursors: dict[int, ref[Any]]) -> list[Any]:
    """Take out the remembered cursors that are left of a loan."""
    left = _open_ones(cursors)
    cursors.clear()
    return left


def _open_ones(cursors: dict[int, ref[Any]]) -> list[Any]:
    alive = [reference() for reference in list(cursors.values())]
    return [cursor for cursor in alive if cursor is not None and not getattr(cursor, "closed", False)]


def close(cursor: Any) -> None:
    """Close a cursor that may have outlived its transaction.

    Raises:
        the driver's error: it cannot be closed.
    """
    try:
        cursor.close()
    except Exception:  # any driver's own error
        # psycopg2 refuses to close a server-side cursor whose transaction is over, and every other use of it, too.
        if getattr(cursor, "name", None) is None or getattr(cursor, "withhold", True):
            raise
