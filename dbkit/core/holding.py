"""Who holds the connections: the facts, and how they read in an error.

Pure: it looks at no thread. ``runtime/stacks.py`` does that, and ``pool/holders.py`` puts both together.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import CodeType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbkit.core.profile import Sample

SHOWN: Final = 10
"""Holders named in an error; the oldest first, the rest are counted."""

PLACES: Final = 5
"""Calls kept of a stack."""

CallSite: TypeAlias = tuple[tuple[CodeType, int], ...]
"""The calls that led to a borrow, innermost first, as cheap as they can be recorded: code and line."""


class Borrower(NamedTuple):
    """Who borrows, where more is known than the thread's number.

    Attributes:
        thread_id: that number.
        site: where it borrowed, in a pool that reports leaks; else empty.
        sample: what the profile keeps of the borrow, if it is sampled.
    """

    thread_id: int
    site: CallSite
    sample: Sample | None = None


Caller: TypeAlias = int | Borrower
"""Who borrows, as a pool records it at each borrow: the thread's number alone, or a ``Borrower``."""


@dataclass(frozen=True, kw_only=True)
class Borrow:
    """A pool's knowledge of a connection that is out: by whom, since when, and perhaps from where."""

    thread_id: int
    since: float
    site: CallSite = ()

    @classmethod
    def of(cls, caller: Caller, since: float) -> Borrow:
        """The borrow of this caller, out since this time of the pool's clock."""
        if isinstance(caller, Borrower):
            return cls(thread_id=caller.thread_id, since=since, site=caller.site)
        return cls(thread_id=caller, since=since)


class Call(NamedTuple):
    """One call of a stack."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.function} ({self.file}:{self.line})"


def calls_of(site: Iterable[tuple[CodeType, int]]) -> tuple[Call, ...]:
    """A recorded call site in words, innermost first."""
    return tuple(Call(code.co_name, code.co_filename, line) for code, line in site)


def places(calls: Sequence[Call], libraries: tuple[str, ...]) -> tuple[str, ...]:
    """The user's own calls among these, innermost first, as ``function (file:line)``; all if none is the user's own.

    Args:
        calls: a stack, innermost call first.
        libraries: how the file names of code begin that is not the user's.
    """
    library = [call.file.startswith(libraries) for call in calls]
    for place, call in enumerate(calls[1:-1], start=1):  # SQLAlchemy 2.0 does not name the code it generates
        library[place] |= call.file == "<string>" and library[place - 1] and library[place + 1]
    own = [call for call, is_library in zip(calls, library, strict=True) if not is_library]
    return tuple(str(call) for call in (own or calls)[:PLACES])


class Seen(NamedTuple):
    """A borrower, as its runtime sees it now.

    Attributes:
        name: the thread's or task's.
        calls: where it is, innermost call first; empty if that is not known.
        ended: it has ended.
        kind: ``thread`` or ``task``.
    """

    name: str
    calls: tuple[Call, ...]
    ended: bool
    kind: str = "thread"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who has a connection.

    Attributes:
        thread: the borrowing thread's name; in an ``AsyncElasticPool`` the task's.
        thread_id: its number (``threading.get_ident()``, or ``id`` of the task).
        seconds: how long the connection has been out.
        where: where that thread is now, innermost call of the user's own code first, as ``function (file:line)``;
            empty if it has ended, or if that is not known: CPython 3.11 tells of the 100 youngest threads only.
        borrowed_at: where it borrowed, likewise; empty in a pool without ``leak_after``.
        ended: the thread has ended and kept its connection.
        kind: ``thread``, or ``task`` in an ``AsyncElasticPool``.
    """

    thread: str
    thread_id: int
    seconds: float
    where: tuple[str, ...] = ()
    borrowed_at: tuple[str, ...] = ()
    ended: bool = False
    kind: str = "thread"

    def __str__(self) -> str:
        text = f"{self.thread} for {self.seconds:.1f} s"
        if self.ended:
            text += f", the {self.kind} has ended"
        elif self.where:
            text += f", now at {' < '.join(self.where[:2])}"
        if self.borrowed_at:
            text += f", borrowed at {' < '.join(self.borrowed_at[:3])}"
        return text


def tell(holders: Sequence[Holder]) -> str:
    """The holders as the end of a message, one line each."""
    lines = [f"\n  - {holder}" for holder in holders[:SHOWN]]
    if len(holders) > SHOWN:
        lines.append(f"\n  - and {len(holders) - SHOWN} more")
    return "".join(lines)
