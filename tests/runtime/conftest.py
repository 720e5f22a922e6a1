"""A loop's runtime, and code in a greenlet on its loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop
from sqlalchemy.util import greenlet_spawn

from dbkit.runtime.loop import LoopRuntime

from ..pool.runtimes import loop_runner
from .on_a_loop import Run


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a synchronous function in a greenlet of a task, as the pool's code is."""
    with loop_runner(request.param) as runner:
        yield lambda body: runner(greenlet_spawn(body))


@pytest.fixture
def runtime() -> LoopRuntime:
    return LoopRuntime()
