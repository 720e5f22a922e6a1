"""What the tests of the loop's runtime do in a greenlet."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.util import await_only

from dbkit.runtime.loop import LoopRuntime

from .helpers import PATIENCE

Run = Callable[[Callable[[], Any]], Any]
"""Runs a synchronous body in a greenlet on a loop."""


async def nothing() -> None:
    """At the end of a loop."""


def bind(runtime: LoopRuntime, at_end: Callable[[], Awaitable[None]] = nothing) -> asyncio.AbstractEventLoop:
    loop = asyncio.get_running_loop()
    runtime.bind(loop, at_end)
    return loop


def rest(seconds: float = 0) -> None:
    """Let the loop turn."""
    await_only(asyncio.sleep(seconds))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: the condition in {condition!r}"
        rest(0.001)


def elsewhere(action: Callable[[], object]) -> None:
    """Do it on another thread."""
    thread = threading.Thread(target=action)
    thread.start()
    thread.join(PATIENCE)
