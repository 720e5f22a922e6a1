"""The jobs of an event loop's runtime, and what must not be cut short: no server, no pool."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from typing import Any, NoReturn

import pytest
from sqlalchemy.util import await_only, greenlet_spawn

from dbkit.runtime.loop import LoopRuntime

from .helpers import PATIENCE
from .on_a_loop import Run, bind, elsewhere, rest, until

tenant = contextvars.ContextVar("tenant", default="nobody")


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
