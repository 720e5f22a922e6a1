"""Cancellation at every await of a scenario, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

LIMIT = 100
"""Awaits of a scenario after which a test gives up: there are fewer."""


class Stepped(Awaitable[Any]):
    """Awaits a coroutine, and cancels the running task at one of its awaits.

    Args:
        scenario: the coroutine.
        at: the number of the await at which the cancellation is delivered, from 1; 0 for never.
        again: deliver it at every later await of this task too, as anyio's cancel scopes do.

    Attributes:
        awaits: how many there were.
    """

    def __init__(self, scenario: Coroutine[Any, Any, Any], at: int, *, again: bool = False) -> None:
        self._scenario = scenario
        self._at = at
        self._again = again
        self.awaits = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._scenario.__await__()
        task = asyncio.current_task()
        assert task is not None
        error: BaseException | None = None
        try:
            while True:
                try:
                    waited_for = steps.throw(error) if error is not None else steps.send(None)  # type: ignore[attr-defined]
                except StopIteration as end:
                    return end.value
                self.awaits += 1
                if self._at and (self.awaits == self._at or (self._again and self.awaits > self._at)):
                    task.cancel()
                error = None
                try:
                    yield waited_for
                except BaseException as thrown:
                    error = thrown
        finally:
            error = (
                None  # it leads to this frame: together they would keep what the scenario dropped until a collection
            )


async def cancelled_everywhere(
    scenario: Callable[[], Coroutine[Any, Any, Any]],
    *,
    again: bool,
    before: Callable[[], Awaitable[object]],
    after: Callable[[], Awaitable[object]],
) -> None:
    """Run a scenario with a cancellation at its first await, at its second, ..., until it runs through.

    Args:
        scenario: makes the coroutine.
        again: see ``Stepped``.
        before: awaited before each run.
        after: awaited after each run; asserts that nothing is lost.
    """
    at = 0
    ended = False
    while not ended:
        at += 1
        assert at < LIMIT, "the scenario does not end"
        await before()
        step = Stepped(scenario(), at, again=again)
        task = asyncio.ensure_future(_await(step))
        try:
            await task
        except asyncio.CancelledError:
            assert task.cancelled()
        ended = step.awaits < at
        if not ended and not again:
            assert task.cancelled(), f"the cancellation at await {at} of {step.awaits} was lost"
            assert task.cancelling() == 1, "it was delivered more than once"
        await after()
    assert at > 1, "no await was cancelled"


async def _await(step: Stepped) -> None:
    await step


def complaints(caplog: Any) -> list[str]:
    """What was logged about connections, by those who look after them."""
    told = [one.getMessage() for one in caplog.records if one.name.startswith(("dbkit", "sqlalchemy", "asyncio"))]
    # SQLAlchemy's: where the closing of a cursor is cut off, it closes None after it. The connection is none the worse.
    return [message for message in told if message != "Error closing cursor"]
