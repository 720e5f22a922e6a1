"""A coroutine that no cancellation cuts, on futures alone: no server, no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from dbkit.runtime.uncut import Uncut

Turns = list["asyncio.Future[int]"]

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Any:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


def begin(seen: list[object]) -> tuple[Turns, Uncut[int], asyncio.Task[int]]:
    """A sum of two futures, and a task that waits for it; what the coroutine sees of exceptions is noted."""
    loop = asyncio.get_running_loop()
    turns: Turns = [loop.create_future(), loop.create_future()]

    async def add() -> int:
        try:
            first = await turns[0]
            await asyncio.sleep(0)
            return first + await turns[1]
        except BaseException as error:
            seen.append(error)
            raise

    uncut = Uncut(add())
    return turns, uncut, asyncio.create_task(uncut.to_its_end())


async def turn_round() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_undisturbed_it_is_awaited_as_any_other(run: Callable[[Coroutine[Any, Any, None]], None]):
    async def main() -> None:
        turns, uncut, task = begin([])
        await turn_round()
        turns[0].set_result(1)
        turns[1].set_result(2)
        assert await task == 3
        assert uncut.is_over

    run(main())


@pytest.mark.parametrize("at", [0, 1])
def test_cancelled_it_goes_on_elsewhere_where_it_was(run, at: int):
    async def main() -> None:
        seen: list[object] = []
        turns, uncut, task = begin(seen)
        await turn_round()
        if at:
            turns[0].set_result(1)
            await turn_round()
        task.cancel("a word")
        with pytest.raises(asyncio.CancelledError, match="a word"):
            await task
        assert not uncut.is_over
        assert not turns[at].cancelled()
        other = asyncio.create_task(uncut.to_its_end())
        await turn_round()
        if not at:
            turns[0].set_result(1)
        turns[1].set_result(2)
        assert await other == 3
        assert seen == []

    run(main())


def test_a_cancellation_as_the_future_ends_is_not_lost(run):
    async def main() -> None:
        seen: list[object] = []
        turns, uncut, task = begin(seen)
        await turn_round()
        turns[0].set_result(1)
        task.cancel()  # in the same turn
        with pytest.raises(asyncio.CancelledError):
            await task
        turns[1].set_result(2)
        assert await uncut.to_its_end() == 3
        assert seen == []

    run(main())


def test_however_often_it_is_cancelled_in_a_turn_it_is_woken_once(run):
    async def main() -> None:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        seen: list[object] = []
        turns, uncut, task = begin(seen)
        await turn_round()
        task.cancel("a word")
        task.cancel("another")
        turns[0].set_result(1)
        with pytest.raises(asyncio.CancelledError):
            await task
        await turn_round()
        turns[1].set_result(2)
        assert await uncut.to_its_end() == 3
        assert seen == complaints == []

    run(main())


def test_a_cancellation_before_it_waits_is_not_lost(run):
    async def main() -> None:
        turns, uncut, task = begin([])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for number, turn in enumerate(turns):
            turn.set_result(number)
        assert await uncut.to_its_end() == 1

    run(main())


def test_level_triggered_cancellation_strikes_only_who_waits(run):
    async def main() -> None:
        turns, uncut, task = begin([])
        for _ in range(3):
            await turn_round()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            task = asyncio.create_task(uncut.to_its_end())
        turns[0].set_result(3)
        turns[1].set_result(4)
        assert await task == 7

    run(main())


def test_its_own_errors_reach_the_coroutine_and_then_the_caller(run):
    async def main() -> None:
        seen: list[object] = []
        turns, uncut, task = begin(seen)
        await turn_round()
        error = LookupError("gone")
        turns[0].set_exception(error)
        with pytest.raises(LookupError) as caught:
            await task
        assert caught.value is error
        assert seen == [error]
        assert uncut.is_over

    run(main())


def test_a_future_that_was_cancelled_is_the_coroutines_affair(run):
    async def main() -> None:
        seen: list[object] = []
        turns, uncut, task = begin(seen)
        await turn_round()
        turns[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [type(one) for one in seen] == [asyncio.CancelledError]
        assert uncut.is_over

    run(main())
