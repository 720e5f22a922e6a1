"""All that an error shows to a program that records it."""

from __future__ import annotations

import traceback


def everything_shown(error: BaseException) -> str:
    """What an error tracker records: every exception of the chain, with the locals of every frame."""
    shown, todo, seen = [], [error], set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        shown.append(repr(one))
        shown += traceback.TracebackException.from_exception(one, capture_locals=True).format()
        shown += [repr(getattr(one, "args", "")), repr(getattr(one, "__dict__", ""))]
        todo += [chained for chained in (one.__cause__, one.__context__, getattr(one, "orig", None)) if chained]
    return "\n".join(shown)
