"""Where tasks are: through coroutines, generators and greenlets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any

import pytest
from sqlalchemy.util import await_only, greenlet_spawn

from dbkit.core.holding import calls_of
from dbkit.runtime import tasks
from dbkit.runtime.stacks import DEPTH

from .helpers import PATIENCE

HERE = __file__


def names(calls: Any) -> list[str]:
    """Of the functions in this file, innermost first."""
    return [call.function for call in calls if call.file == HERE]


async def look(work: Callable[[asyncio.Future[None]], Coroutine[Any, Any, Any]]) -> tuple[int, Any]:
    """A task's number, and what is seen of it while it waits."""
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    task = asyncio.create_task(work(turn), name="at work")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    seen = tasks.look_at([id(task)], loop)
    turn.set_result(None)
    await task
    assert list(seen) == [id(task)]
    return id(task), seen[id(task)]


async def outer(turn: asyncio.Future[None]) -> None:
    await inner(turn)


async def inner(turn: asyncio.Future[None]) -> None:
    await turn


async def through_a_generator(turn: asyncio.Future[None]) -> None:
    async for _ in generated(turn):
        pass


async def generated(turn: asyncio.Future[None]) -> AsyncIterator[int]:
    await turn
    yield 1


class Awaitable:
    def __init__(self, turn: asyncio.Future[None]) -> None:
        self.turn = turn

    def __await__(self) -> Generator[Any, None, None]:
        yield from self.turn


async def through_an_awaitable(turn: asyncio.Future[None]) -> None:
    await Awaitable(turn)


async def through_a_greenlet(turn: asyncio.Future[None]) -> None:
    await greenlet_spawn(in_a_greenlet, turn)


def in_a_greenlet(turn: asyncio.Future[None]) -> None:
    deeper(turn)


def deeper(turn: asyncio.Future[None]) -> None:
    await_only(inner(turn))


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (outer, ["inner", "outer"]),
        (through_a_generator, ["generated", "through_a_generator"]),
        (through_an_awaitable, ["__await__", "through_an_awaitable"]),
        (through_a_greenlet, ["inner", "deeper", "in_a_greenlet", "through_a_greenlet"]),
    ],
)
def test_a_task_is_seen_where_it_waits(work: Any, expected: list[str]):
    number, seen = asyncio.run(look(work))
    assert (seen.name, seen.ended, seen.kind) == ("at work", False, "task")
    assert names(seen.calls) == expected
    assert number > 0


def test_a_deep_chain_is_cut_off():
    async def deep(turn: asyncio.Future[None], left: int) -> None:
        await (deep(turn, left - 1) if left else turn)

    _, seen = asyncio.run(look(lambda turn: deep(turn, 3 * DEPTH)))
    assert len(seen.calls) == 2 * DEPTH


def test_the_running_task_is_seen_where_it_looks():
    async def main() -> None:
        number = tasks.number()
        assert number == id(asyncio.current_task())
        seen = tasks.look_at([number], asyncio.get_running_loop())[number]
        assert names(seen.calls)[0] == "main"

    asyncio.run(main())


def test_one_that_has_ended_is_known_by_its_number():
    async def main() -> None:
        seen = tasks.look_at([17], asyncio.get_running_loop())[17]
        assert (seen.name, seen.calls, seen.ended, seen.kind) == ("task 0x11", (), True, "task")

    asyncio.run(main())
    assert tasks.look_at([17], None)[17].ended


def test_from_elsewhere_names_are_told_and_no_stacks():
    async def main() -> None:
        loop, number, seen = asyncio.get_running_loop(), tasks.number(), list[Any]()
        thread = threading.Thread(target=lambda: seen.append(tasks.look_at([number], loop)[number]))
        thread.start()
        await asyncio.to_thread(thread.join, PATIENCE)
        [one] = seen
        assert (one.calls, one.ended, one.kind) == ((), False, "task")
        assert one.name == asyncio.current_task().get_name()  # type: ignore[union-attr]

    asyncio.run(main())


def called_in_a_greenlet() -> Any:
    return tasks.call_site()


def test_the_calls_that_led_here_go_through_the_greenlets():
    async def main() -> Any:
        return await greenlet_spawn(called_in_a_greenlet)

    assert names(calls_of(asyncio.run(main()))) == [
        "called_in_a_greenlet",
        "main",
        "test_the_calls_that_led_here_go_through_the_greenlets",
    ]


def test_outside_of_greenlets_they_are_the_threads():
    calls = calls_of(tasks.call_site())
    assert names(calls) == ["test_outside_of_greenlets_they_are_the_threads"]
    assert calls[0].function == "test_outside_of_greenlets_they_are_the_threads"


def test_calls_in_a_deep_greenlet_are_cut_off_at_twice_the_depth_and_the_last_one_whole():
    def descend(left: int) -> Any:
        return descend(left - 1) if left else tasks.call_site()

    async def main() -> Any:
        return await greenlet_spawn(descend, 3 * DEPTH)

    assert DEPTH < len(asyncio.run(main())) <= 3 * DEPTH
