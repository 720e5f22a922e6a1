"""The five verbs on an event loop, but for jobs: no server, no pool."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy.util import await_only, greenlet_spawn

from dbkit.runtime import loop_clock
from dbkit.runtime.loop import LoopRuntime
from dbkit.runtime.threads import ThreadRuntime

from .helpers import PATIENCE
from .on_a_loop import Run, bind, elsewhere, rest, until

GRAIN = 0.002
"""Seconds. uvloop's timers count whole milliseconds, and may ring so much too early."""


# ---- waiters


def test_a_waiter_is_woken_once_however_often_it_is_called(run: Run, runtime: LoopRuntime):
    def body() -> None:
        waiter = runtime.waiter(time.monotonic(), 1, None)
        assert not waiter.wait(0)
        waiter.wake()
        waiter.wake()
        assert waiter.wait(PATIENCE)
        assert not waiter.wait(0.001)
        assert not waiter.wait(-1)

    run(body)


@pytest.mark.parametrize("where", ["on the loop", "on another thread"])
def test_one_that_sleeps_is_woken_at_once(run: Run, runtime: LoopRuntime, where: str):
    def body() -> None:
        waiter = runtime.waiter(time.monotonic(), 1, None)
        loop = asyncio.get_running_loop()
        for _ in range(2):
            asleep = time.monotonic()
            loop.call_soon(waiter.wake if where == "on the loop" else lambda: elsewhere(waiter.wake))
            assert waiter.wait(PATIENCE)
            assert time.monotonic() < asleep + PATIENCE

    run(body)


def test_a_waiter_sleeps_as_long_as_it_may(run: Run, runtime: LoopRuntime):
    def body() -> None:
        waiter, began = runtime.waiter(time.monotonic(), 1, None), time.monotonic()
        assert not waiter.wait(0.02)
        assert time.monotonic() - began >= 0.02
        waiter.wake()
        assert waiter.wait(PATIENCE)

    run(body)


def test_a_wait_that_is_over_costs_no_more_than_its_time(run: Run, runtime: LoopRuntime):
    """Neither the limit nor the future of one wait has a part in the next."""

    def body() -> None:
        waiter = runtime.waiter(time.monotonic(), 1, None)
        for _ in range(3):
            asyncio.get_running_loop().call_soon(waiter.wake)
            assert waiter.wait(0.03)
        began = time.monotonic()
        assert not waiter.wait(0.1)
        assert time.monotonic() - began >= 0.1

    run(body)


def test_a_wait_that_is_over_leaves_no_limit_behind(run: Run, runtime: LoopRuntime, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop_clock, "MANY", 5)

    def body() -> None:
        waiter = runtime.waiter(time.monotonic(), 1, None)
        for _ in range(30):
            asyncio.get_running_loop().call_soon(waiter.wake)
            assert waiter.wait(PATIENCE)
        assert len(runtime.clock._heap) < 10

    run(body)


def test_a_cancelled_waiter_is_told_so_and_may_be_woken_for_nothing(run: Run, runtime: LoopRuntime):
    def body() -> None:
        waiter = runtime.waiter(time.monotonic(), 1, None)
        task = asyncio.ensure_future(greenlet_spawn(waiter.wait, PATIENCE))
        rest()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await_only(task)
        waiter.wake()
        assert waiter.wait(0)

    run(body)


def test_a_waiter_knows_who_asks_since_when_and_in_which_context(run: Run, runtime: LoopRuntime):
    context = contextvars.copy_context()
    waiter = run(lambda: runtime.waiter(12.5, 7, context))
    assert (waiter.since, waiter.due_at, waiter.holder) == (12.5, 12.5, 7)
    assert waiter.context is context
    assert waiter.slot is waiter.error is None
    assert not waiter.called


def test_a_waiter_whose_loop_is_closed_is_woken_for_nothing(run: Run, runtime: LoopRuntime):
    waiter = run(lambda: (bind(runtime), runtime.waiter(0.0, 1, None))[1])
    with asyncio.Runner() as another:
        assert runtime.loop is not another.get_loop()
    elsewhere(waiter.wake)


# ---- alarms


@pytest.mark.parametrize("where", ["on the loop", "on another thread"])
def test_an_alarm_rings_on_the_loop_at_its_time(run: Run, runtime: LoopRuntime, where: str):
    def body() -> None:
        bind(runtime)
        rung: list[tuple[str, float, int]] = []
        now = time.monotonic()

        def ring(name: str) -> Callable[[], None]:
            return lambda: rung.append((name, time.monotonic(), threading.get_ident()))

        def set_all() -> None:
            runtime.call_at(now + 0.5, ring("later"))
            runtime.call_at(now - 5, ring("past"))
            runtime.call_at(float("inf"), ring("never"))

        set_all() if where == "on the loop" else elsewhere(set_all)
        assert not rung
        until(lambda: len(rung) == 2)
        assert [name for name, _, _ in rung] == ["past", "later"]
        assert rung[1][1] >= now + 0.5 - GRAIN
        assert {thread for _, _, thread in rung} == {threading.get_ident()}

    run(body)


# ---- the end of the loop


def test_the_end_of_a_loop_is_told_while_it_can_still_await(runtime: LoopRuntime):
    ended: list[bool] = []

    async def at_end() -> None:
        await asyncio.sleep(0)
        ended.append(runtime.ending)

    with asyncio.Runner() as runner:
        runner.run(greenlet_spawn(bind, runtime, at_end))
        assert not runtime.ending
        assert not ended
    assert ended == [True]


def test_the_lock_is_the_threads():
    assert type(LoopRuntime().lock()) is type(ThreadRuntime().lock())
