"""A pause stops who pauses, and on an event loop nobody else."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest
from sqlalchemy.util import greenlet_spawn

from dbkit.runtime.pausing import pause

SHORT = 0.02


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sleeps of whole threads, which take no time."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


def test_a_thread_sleeps(slept: list[float]):
    pause(SHORT)
    assert slept == [SHORT]


def test_a_program_without_asyncio_sleeps_too(slept: list[float], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "asyncio")
    pause(SHORT)
    assert slept == [SHORT]
    assert "asyncio" not in sys.modules


def test_on_a_loop_the_other_tasks_go_on(slept: list[float]):
    async def main() -> None:
        began, turns = time.monotonic(), 0
        pausing = asyncio.create_task(greenlet_spawn(pause, SHORT))
        while not pausing.done():
            turns += 1
            await asyncio.sleep(0)
        assert time.monotonic() - began >= SHORT
        assert turns > 2

    asyncio.run(main())
    assert slept == []


def test_synchronous_code_on_a_loop_can_but_hold_it_up(slept: list[float]):
    async def main() -> None:
        pause(SHORT)

    asyncio.run(main())
    assert slept == [SHORT]
