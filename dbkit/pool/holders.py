"""Who has the connections: the question at 3 a.m., answered in the error itself.

Nothing is recorded at a borrow but the thread's number; where that thread *is now* is read from the interpreter when
somebody asks.
"""

from __future__ import annotations

import sys
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import FrameType

SHOWN = 10
"""Holders named in an error; the oldest first, the rest are counted."""

_NOT_THE_USERS = ("sqlalchemy", "dbkit", "threading", "contextlib", "psycopg2", "_thread")


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Somebody who has a connection.

    Attributes:
        thread: the borrowing thread's name.
        thread_id: its number (``threading.get_ident()``).
        seconds: how long the connection has been out.
        where: where that thread is now, innermost call of the user's own code first; empty if it has ended.
    """

    thread: str
    thread_id: int
    seconds: float
    where: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = " < ".join(self.where[:2]) if self.where else "a thread that has ended"
        return f"{self.thread} for {self.seconds:.1f} s, now at {place}"


def find_holders(borrowed: Iterable[tuple[int, float]], now: float) -> tuple[Holder, ...]:
    """Name the holders, the oldest borrow first.

    Args:
        borrowed: for each connection that is out, the borrowing thread's number and when it was borrowed.
        now: the moment to count from, on the same clock.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()
    return tuple(
        Holder(
            thread=names.get(thread_id, f"thread {thread_id}"),
            thread_id=thread_id,
            seconds=now - since,
            where=_places(frames.get(thread_id)),
        )
        for thread_id, since in sorted(borrowed, key=lambda item: item[1])
    )


def _places(frame: FrameType | None) -> tuple[str, ...]:
    if frame is None:
        return ()
    stack = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=60, lookup_lines=False)
    every = [(f"{entry.name} ({entry.filename}:{entry.lineno})", entry.filename) for entry in stack]
    own = [place for place, filename in every if not _is_library(filename)]
    return tuple(own or [place for place, _ in every])[:5]


def _is_library(filename: str) -> bool:
    parts = filename.replace("\\", "/").split("/")
    return any(name in parts or f"{name}.py" == parts[-1] for name in _NOT_THE_USERS)


def tell(holders: Sequence[Holder], *, asking: int | None = None) -> str:
    """The holders as the end of an error message; ``asking`` is the number of the thread that wants a connection."""
    lines = [f"\n  - {holder}" for holder in holders[:SHOWN]]
    if len(holders) > SHOWN:
        lines.append(f"\n  - and {len(holders) - SHOWN} more")
    text = "".join(lines)
    if any(holder.thread_id == asking for holder in holders):
        text += (
            "\nThe waiting thread itself holds one of them: code that borrows a second connection while it keeps the "
            "first locks itself out when the pool is full. Pass the first one down, or give it back before."
        )
    return text
