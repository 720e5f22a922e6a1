"""The five verbs, on an event loop: no server, no pool."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NoReturn

import pytest
import uvloop
from sqlalchemy.util import await_only, greenlet_spawn

from dbkit.runtime import loop_clock
from dbkit.runtime.loop import LoopRuntime
from dbkit.runtime.threads import ThreadRuntime

from ..pool.runtimes import loop_runner
from .helpers import PATIENCE

tenant = contextvars.ContextVar("tenant", default="nobody")

Run = Callable[[Callable[[], Any]], Any]

GRAIN = 0.002
"""Seconds. uvloop's timers count whole milliseconds, and may ring so much too early."""


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a synchronous function in a greenlet of a task, as the pool's code is."""
    with loop_runner(request.param) as runner:
        yield lambda body: runner(greenlet_spawn(body))


@pytest.fixture
def runtime() -> LoopRuntime:
    return LoopRuntime()


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


# ---- jobs


@pytest.mark.parametrize("where", ["on the loop", "on another thread"])
def test_a_job_is_a_task_of_its_own_in_a_copy_of_its_borrowers_context(run: Run, runtime: LoopRuntime, where: str):
    seen: list[Any] = []

    def job() -> None:
        seen.append((tenant.get(), asyncio.current_task()))
        tenant.set("changed by a job")

    def body() -> None:
        bind(runtime)
        tenant.set("acme")
        context = contextvars.copy_context()
        tenant.set("another")
        begun: list[bool] = []
        for given in (context, None):
            if where == "on the loop":
                begun.append(runtime.spawn(job, given))
            else:
                elsewhere(lambda given=given: begun.append(runtime.spawn(job, given)))
        assert begun == [True, True]
        assert not seen  # in a turn of its own
        until(lambda: len(seen) == 2)
        assert [name for name, _ in seen] == ["acme", "nobody"]
        assert context[tenant] == "acme"
        assert len({task for _, task in seen} | {asyncio.current_task()}) == 3
        until(lambda: not runtime.jobs)

    run(body)


def test_without_an_open_loop_there_are_no_jobs_and_no_alarms(runtime: LoopRuntime):
    ran: list[str] = []
    assert not runtime.spawn(lambda: ran.append("a job"), None)
    runtime.call_at(time.monotonic(), lambda: ran.append("an alarm"))
    with asyncio.Runner() as runner:
        runner.run(greenlet_spawn(bind, runtime))
    assert not runtime.spawn(lambda: ran.append("a job"), None)
    runtime.call_at(time.monotonic(), lambda: ran.append("an alarm"))
    assert not ran


def test_a_job_that_fails_is_logged(run: Run, runtime: LoopRuntime, caplog: pytest.LogCaptureFixture):
    def job() -> NoReturn:
        raise ValueError("the job's own trouble")

    def body() -> None:
        bind(runtime)
        assert runtime.spawn(job, None)
        until(lambda: not runtime.jobs)

    run(body)
    assert "the job's own trouble" in caplog.text


def test_a_job_that_is_cut_short_from_within_is_told_to_developers_alone(
    run: Run, runtime: LoopRuntime, caplog: pytest.LogCaptureFixture
):
    def job() -> NoReturn:
        raise asyncio.CancelledError

    def body() -> None:
        bind(runtime)
        assert runtime.spawn(job, None)
        [task] = runtime.jobs
        until(lambda: not runtime.jobs)
        assert not task.cancelled()

    with caplog.at_level(logging.DEBUG, "dbkit.pool"):
        run(body)
    [record] = [one for one in caplog.records if "cut short" in one.getMessage()]
    assert record.levelno == logging.DEBUG


# ---- to its end


def test_what_must_not_be_cut_gives_its_result(run: Run, runtime: LoopRuntime):
    async def seven() -> int:
        await asyncio.sleep(0)
        return 7

    def body() -> None:
        assert runtime.see_through(seven(), lambda task: pytest.fail("its caller is here")) == 7
        assert not runtime.jobs

    run(body)


def test_what_its_caller_left_goes_on_and_tells_another(run: Run, runtime: LoopRuntime):
    def body() -> None:
        bind(runtime)
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        left: list[int] = []

        async def wait_for_turn() -> int:
            return await turn

        def see() -> int:
            return runtime.see_through(wait_for_turn(), lambda task: left.append(task.result()))

        task = asyncio.ensure_future(greenlet_spawn(see))
        rest()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await_only(task)
        assert len(runtime.jobs) == 1
        assert not left
        turn.set_result(5)
        until(lambda: left == [5])
        assert not runtime.jobs

    run(body)


def test_what_fails_in_its_callers_sight_is_the_callers(run: Run, runtime: LoopRuntime):
    async def fail() -> NoReturn:
        raise ZeroDivisionError

    def body() -> None:
        with pytest.raises(ZeroDivisionError):
            runtime.see_through(fail(), lambda task: pytest.fail("its caller is here"))
        assert not runtime.jobs

    run(body)


def test_settling_waits_for_the_jobs_that_end_in_time(run: Run, runtime: LoopRuntime):
    def body() -> None:
        bind(runtime)
        done: list[str] = []
        runtime.spawn(lambda: (rest(0.01), done.append("soon")), None)
        began = time.monotonic()
        await_only(runtime.settle(PATIENCE))
        assert done == ["soon"]
        assert time.monotonic() - began < PATIENCE
        assert not runtime.jobs

    run(body)


@pytest.mark.parametrize("cancel", [False, True])
def test_settling_cancels_the_others_where_it_is_told_to(run: Run, runtime: LoopRuntime, cancel: bool):
    def body() -> None:
        loop = bind(runtime)
        never = loop.create_future()
        runtime.spawn(lambda: await_only(never), None)
        rest()
        for seconds in (0.0, 0.02):
            began = time.monotonic()
            await_only(runtime.settle(seconds))
            assert seconds <= time.monotonic() - began < PATIENCE
            assert len(runtime.jobs) == 1
        await_only(runtime.settle(0.0, cancel=cancel))
        assert len(runtime.jobs) == (0 if cancel else 1)
        assert never.cancelled() == cancel
        if not cancel:
            never.set_result(None)
            until(lambda: not runtime.jobs)

    run(body)


def test_a_job_that_settles_does_not_wait_for_itself(run: Run, runtime: LoopRuntime):
    def body() -> None:
        bind(runtime)
        took: list[float] = []

        def job() -> None:
            began = time.monotonic()
            await_only(runtime.settle(PATIENCE, cancel=True))
            took.append(time.monotonic() - began)

        runtime.spawn(job, None)
        until(lambda: took)
        assert took[0] < PATIENCE

    run(body)


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
            runtime.call_at(now + 0.05, ring("later"))
            runtime.call_at(now - 5, ring("past"))
            runtime.call_at(float("inf"), ring("never"))

        set_all() if where == "on the loop" else elsewhere(set_all)
        assert not rung
        until(lambda: len(rung) == 2)
        assert [name for name, _, _ in rung] == ["past", "later"]
        assert rung[1][1] >= now + 0.05 - GRAIN
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
