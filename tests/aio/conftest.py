from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture(params=["psycopg", "asyncpg"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each driver for event loops."""
    name: str = request.param
    return name


@pytest.fixture
def run() -> Iterator[Callable[..., Any]]:
    """Run coroutines on one event loop, whose errors nobody retrieved fail the test."""
    complaints: list[Any] = []
    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        yield runner.run
        gc.collect()
    gc.collect()
    assert not complaints, complaints
