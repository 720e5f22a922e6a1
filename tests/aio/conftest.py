from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ..pool.runtimes import loop_runner


@pytest.fixture(params=["psycopg", "asyncpg"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each driver for event loops."""
    name: str = request.param
    return name


@pytest.fixture
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Makes the loop of ``run``: asyncio's own, but in a test that is marked ``on_uvloop_too``."""
    found: Callable[[], asyncio.AbstractEventLoop] | None = getattr(request, "param", None)
    return found


@pytest.fixture
def run(new_loop: Callable[[], asyncio.AbstractEventLoop] | None) -> Iterator[Callable[..., Any]]:
    """Run coroutines on one event loop, whose errors nobody retrieved fail the test."""
    with loop_runner(new_loop) as found:
        yield found
        gc.collect()
