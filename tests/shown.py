"""All that an error shows to a program that records it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

DBKIT: Final = str(Path(__file__).parents[1] / "dbkit")


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and all it leads to, each once."""
    todo: list[BaseException | None] = [error]
    seen = set()
    while todo:
        one = todo.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [one.__cause__, one.__context__, getattr(one, "orig", None)]


def everything_shown(error: BaseException) -> str:
    """What an error tracker records: every exception of the chain, with the locals of every frame."""
    shown = []
    for one in chain(error):
        shown.append(repr(one))
        shown += traceback.TracebackException.from_exception(one, capture_locals=True).format()
        shown += [repr(getattr(one, "args", "")), repr(getattr(one, "__dict__", ""))]
    return "\n".join(shown)


def shown_by_dbkit(error: BaseException) -> str:
    """The same, with the locals of dbkit's frames only: a test's own may hold what it likes."""
    shown = []
    for one in chain(error):
        shown += [str(one), repr(one), repr(one.__dict__)]
        recorded = traceback.TracebackException.from_exception(one, capture_locals=True)
        shown += [repr(frame.locals) for frame in recorded.stack if frame.filename.startswith(DBKIT)]
    return "\n".join(shown)
