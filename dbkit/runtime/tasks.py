"""Tasks of an event loop: their numbers, and where they are now.

Only the loop's own thread looks at stacks: there every other task stands still, at an ``await``. A task is then a chain
of coroutines, each waiting for the next. One of them may be SQLAlchemy's ``greenlet_spawn``: the calls of its greenlet,
which stands still, too, lie between it and what it waits for.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any

from sqlalchemy.util import greenlet_spawn

from dbkit.core.holding import Call, Seen, calls_of
from dbkit.runtime.stacks import DEPTH
from dbkit.runtime.stacks import call_site as calls_below

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dbkit.core.holding import CallSite


def number() -> int:
    """The number of the running task: unique while it lives."""
    return id(asyncio.current_task())


def look_at(numbers: Collection[int], loop: asyncio.AbstractEventLoop | None) -> Mapping[int, Seen]:
    """Where the tasks with these numbers are now.

    Asked from elsewhere than the loop's thread, it tells names alone.
    """
    found = {id(task): task for task in (asyncio.all_tasks(loop) if loop is not None else ())}
    here = loop is not None and asyncio._get_running_loop() is loop
    return {
        one: Seen(task.get_name(), _calls(task) if here else (), ended=False, kind="task")
        if (task := found.get(one)) is not None
        else Seen(f"task {one:#x}", (), ended=True, kind="task")
        for one in numbers
    }


def _calls(task: asyncio.Task[Any]) -> tuple[Call, ...]:
    """Innermost first."""
    if task is asyncio.current_task():
        return calls_of(call_site())
    calls: list[Call] = []
    waits: Any = task.get_coro()
    while waits is not None and len(calls) < 2 * DEPTH:
        frame = getattr(waits, "cr_frame", None) or getattr(waits, "ag_frame", None) or getattr(waits, "gi_frame", None)
        if frame is not None:
            calls.append(Call(frame.f_code.co_name, frame.f_code.co_filename, frame.f_lineno))
            if frame.f_code is greenlet_spawn.__code__:
                calls += reversed(_calls_in_greenlet(waits))
        waits = (
            getattr(waits, "cr_await", None)
            or getattr(waits, "ag_await", None)
            or getattr(waits, "gi_yieldfrom", None)
            or _generator_of(waits)
        )
    return tuple(reversed(calls))


def _generator_of(step: object) -> AsyncGeneratorType[Any, Any] | None:
    """The asynchronous generator that this awaitable is a step of, which it has no name for; None if it is no step."""
    return next((one for one in gc.get_referents(step) if isinstance(one, AsyncGeneratorType)), None)


def _calls_in_greenlet(spawned: Any) -> tuple[Call, ...]:
    """The calls of the greenlet that this coroutine of ``greenlet_spawn`` runs, innermost first."""
    # Not by ``f_locals``: a copy of the variables, which keeps alive what is in them.
    for local in gc.get_referents(spawned):
        if hasattr(local, "gr_frame"):
            return calls_of(calls_below(local.gr_frame))
    return ()


def call_site() -> CallSite:
    """The calls that led the running task here, innermost first; through the greenlets that it runs in, too."""
    site = calls_below(sys._getframe(1))
    getcurrent = getattr(sys.modules.get("greenlet"), "getcurrent", None)
    above = getcurrent().parent if getcurrent is not None else None
    while above is not None and above.gr_frame is not None and len(site) < 2 * DEPTH:
        site += calls_below(above.gr_frame)
        above = above.parent
    return site
