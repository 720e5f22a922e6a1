"""What the tests on an event loop share: engines, waiting for conditions, and cancellation at each await."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from dbkit.pool.elastic_asyncio import AsyncElasticPool

from ..pool.helpers import QUIET, Admin, name_argument, unique
from ..pool.runtimes import PATIENCE


async def eventually(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Poll until the condition is true and return what it returned; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: the condition in {condition!r}"
        await asyncio.sleep(0.002)
    return found


def async_engine(url: str, driver: str, *, name: str = "", **arguments: Any) -> AsyncEngine:
    """An engine on an ``AsyncElasticPool``, on which nothing happens unasked."""
    name = name or unique("aio")
    given: dict[str, Any] = {"poolclass": AsyncElasticPool, **QUIET, **arguments}
    made = make_url(url).set(drivername=f"postgresql+{driver}")
    arguments = {"connect_args": name_argument(driver, name), "execution_options": {"name": name}, **given}
    return create_async_engine(made, **arguments)


def sessions(admin: Admin, engine: AsyncEngine) -> int:
    """How many sessions of this engine the server has."""
    name = engine.sync_engine.get_execution_options()["name"]
    return int(admin.rows("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", name)[0][0])


class Stepped(Awaitable[Any]):
    """Awaits a coroutine, and cancels the running task at one of its awaits.

    Args:
        scenario: the coroutine.
        at: the number of the await at which the cancellation is delivered, from 1; 0 for never.
        again: deliver it at every later await of this task too, as anyio's cancel scopes do.

    Attributes:
        awaits: how many there were.
        where: the line of the innermost coroutine at which the first cancellation was delivered.
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
