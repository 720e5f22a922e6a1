from __future__ import annotations

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
def run() -> Iterator[Callable[..., Any]]:
    """Run coroutines on one event loop, whose errors nobody retrieved fail the test."""
    with loop_runner() as found:
        yield found
        gc.collect()
