"""Who has the connections: the question at 3 a.m., answered in the error itself.

Nothing is recorded at a borrow but the thread's number; where that thread *is now* is read from the interpreter when
somebody asks. Where it borrowed is known only to a pool with ``leak_after``.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg2
import sqlalchemy

import dbkit.errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import CodeType, FrameType

    CallSite = tuple[tuple[CodeType, int], ...]

SHOWN: Final = 10
"""Holders named in an error; the oldest first, the rest are counted."""

_DEPTH: Final = 40
"""Frames looked at."""

_NOT_THE_USERS: Final = (
    *(f"{Path(str(module.__file__)).parent}{os.sep}" for module in (sqlalchemy, psycopg2, dbkit.errors)),
    *(str(module.__file__) for module in (threading, contextlib)),
    "<sqlalchemy",  # code it generates, in 2.1
)
"""Where the calls between the user's own and the pool lie: whole packages, and single files."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Somebody who has a connection.

    Attributes:
        thread: the borrowing thread's name.
        thread_id: its number (``threading.get_ident()``).
        seconds: how long the connection has been out.
        where: where that thread is now, innermost call of the user's own code first, as ``function (file:line)``;
            empty if it has ended.
        borrowed_at: where it borrowed, likewise; empty in a pool without ``leak_after``.
    """

    thread: str
    thread_id: int
    seconds: float
    where: tuple[str, ...] = ()
    borrowed_at: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = " < ".join(self.where[:2]) if self.where else "no more (the thread has ended)"
        text = f"{self.thread} for {self.seconds:.1f} s, now at {place}"
        return f"{text}, borrowed at {' < '.join(self.borrowed_at[:3])}" if self.borrowed_at else text


@dataclass(frozen=True, kw_only=True)
class Borrow:
    """What a pool knows of a connection that is out: by whom, since when, and perhaps from where."""

    thread_id: int
    since: float
    site: CallSite = ()


def find_holders(borrows: Iterable[Borrow], now: float) -> tuple[Holder, ...]:
    """Name the holders, the oldest borrow first. ``now`` is on the clock of the borrows."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()
    return tuple(
        Holder(
            thread=names.get(borrow.thread_id, f"thread {borrow.thread_id}"),
            thread_id=borrow.thread_id,
            seconds=now - borrow.since,
            where=places(call_site(frames.get(borrow.thread_id))),
            borrowed_at=places(borrow.site),
        )
        for borrow in sorted(borrows, key=lambda borrow: borrow.since)
    )


def call_site(frame: FrameType | None) -> CallSite:
    """The calls that led here, innermost first. Cheap, and keeps no local variable alive."""
    site: list[tuple[CodeType, int]] = []
    while frame is not None and len(site) < _DEPTH:
        site.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(site)


def places(site: CallSite) -> tuple[str, ...]:
    """The user's own calls of a call site, or all if there are none: ``function (file:line)``."""
    library = [code.co_filename.startswith(_NOT_THE_USERS) for code, _ in site]
    for place, (code, _) in enumerate(site[1:-1], start=1):  # SQLAlchemy 2.0 does not name the code it generates
        library[place] |= code.co_filename == "<string>" and library[place - 1] and library[place + 1]
    own = [entry for entry, is_library in zip(site, library, strict=True) if not is_library]
    return tuple(f"{code.co_name} ({code.co_filename}:{line})" for code, line in own or site)[:5]


def tell(holders: Sequence[Holder], *, asking: int | None = None) -> str:
    """The holders as the end of a message; ``asking`` is the number of the thread that wants a connection."""
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
