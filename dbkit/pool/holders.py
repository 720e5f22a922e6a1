"""Who has the connections: the question at 3 a.m., answered in the error itself.

Nothing is recorded at a borrow but the number of the thread or task; where that *is now* its runtime finds out when the
question is asked. Where it borrowed is known only to a pool with ``leak_after``.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock, get_ident
from functools import cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from dbkit.core.holding import Borrow, Holder, calls_of, places

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from dbkit.core.holding import Seen

T = TypeVar("T")

MOMENT: Final = 0.1
"""Seconds for which a report is shared."""

PATIENCE: Final = 1.0
"""Seconds to wait for a report that another thread makes, before making one's own."""

_LIBRARIES: Final = (
    "sqlalchemy", "psycopg2", "psycopg", "asyncpg", "dbkit", "threading", "contextlib", "asyncio",
    "flask_sqlalchemy", "sqlmodel", "pandas", "alembic",
)  # fmt: skip
"""The packages between the user's own code and the pool."""


def find_holders(
    borrows: Iterable[Borrow], now: float, look_at: Callable[[Collection[int]], Mapping[int, Seen]]
) -> tuple[Holder, ...]:
    """Name the holders, the oldest borrow first.

    Args:
        borrows: what the pool knows of its connections that are out.
        now: the moment, on the clock of the borrows.
        look_at: the runtime's.
    """
    oldest_first = sorted(borrows, key=lambda borrow: borrow.since)
    if not oldest_first:
        return ()
    seen = look_at({borrow.thread_id for borrow in oldest_first})
    libraries = _library_files()
    return tuple(
        Holder(
            thread=holder.name,
            thread_id=borrow.thread_id,
            seconds=now - borrow.since,
            where=places(holder.calls, libraries),
            borrowed_at=places(calls_of(borrow.site), libraries),
            ended=holder.ended,
            kind=holder.kind,
        )
        for borrow in oldest_first
        for holder in (seen[borrow.thread_id],)
    )


@cache
def is_library(file: str) -> bool:
    """Whether code of this file stands between the user's own and the pool. A file whose code runs is imported, so the
    answer holds."""
    return file.startswith(_library_files())


def _library_files() -> tuple[str, ...]:
    """How the names of the libraries' files begin: a package's folder, a module's file. Imports none of them."""
    files = [Path(module.__file__) for name in _LIBRARIES if (module := sys.modules.get(name)) and module.__file__]
    folders = (f"{file.parent}{os.sep}" if file.stem == "__init__" else str(file) for file in files)
    return (*folders, "<sqlalchemy")  # code it generates, in 2.1


class SharedReport(Generic[T]):
    """One report for all threads that ask for it at the same moment, so that a crowd costs no more than one.

    A report is shared only with those that were waiting already when it was begun, and for ``moment`` seconds: it
    shows the pool during their own wait, never before it. While one is being made the others wait for it. The last
    report is kept: it should hold on to nothing but text and numbers.

    Safe to use from any threads, and inside a finalizer or a signal handler that interrupts the making of a report:
    that one makes its own. No thread waits for another longer than ``PATIENCE``.

    Args:
        moment: seconds for which a report is shared.
    """

    def __init__(self, moment: float = MOMENT) -> None:
        self._moment = moment
        self._making = allocate_lock()
        self._maker = 0
        """The thread that makes a report now; 0 if none does."""
        self._last: tuple[float, T] | None = None
        """When the last report was begun, and the report."""

    def get(self, began: float, make: Callable[[], T]) -> T:
        """A report that is not older than ``began``.

        Args:
            began: when the asking thread began to wait, on the monotonic clock.
            make: makes a report of this moment; what it raises is raised here, and shared with nobody.
        """
        oldest = max(began, monotonic() - self._moment)
        last = self._last
        if last is not None and last[0] >= oldest:
            return last[1]
        making = self._making
        if self._maker == get_ident():  # interrupted in the midst of making one
            return make()
        if not making.acquire(timeout=PATIENCE):
            self._making = allocate_lock()  # its maker is stuck, or an exception from outside left it locked
            return make()
        try:
            last = self._last
            if last is not None and last[0] >= oldest:
                return last[1]
            self._maker = get_ident()
            last = self._last = (monotonic(), make())
            return last[1]
        finally:
            self._maker = 0
            making.release()
