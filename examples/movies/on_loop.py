"""``--async``: the same shop on an event loop. The repositories are the threads' own, called in a greenlet."""

from __future__ import annotations

import argparse
import asyncio
import itertools
from collections.abc import Callable
from contextlib import ExitStack
from random import Random
from time import monotonic

from dbkit import AsyncDatabaseConnectionManager
from dbkit.core.stats import PoolStats
from dbkit.settings import DatabaseSettings
from examples.movies import report, workload
from examples.movies.intake import Intake
from examples.movies.interrupt import CtrlC
from examples.movies.proof import ServerSide
from examples.movies.repositories import OutOfStockError
from examples.movies.screen import Screen
from examples.movies.workload import ARRIVAL, ERRORS_IN_A_ROW, SAMPLE_EVERY, Outcome, Shop

TASKS = 200


class Closing:
    """A manager of an event loop, as the proof closes it from a thread."""

    def __init__(self, db: AsyncDatabaseConnectionManager) -> None:
        self._db = db
        self._loop = asyncio.get_running_loop()

    def stats(self) -> PoolStats:
        """The pool at this moment."""
        return self._db.stats()

    def close_connections(self, timeout: float) -> object:
        """Close everything, on the loop; this thread waits."""
        return asyncio.run_coroutine_threadsafe(self._db.close_connections(timeout), self._loop).result()


async def run(
    db: AsyncDatabaseConnectionManager,
    *,
    tasks: int,
    seconds: float,
    on_sample: Callable[[float], None] = lambda elapsed: None,
) -> Outcome:
    """Let so many tasks work for so many seconds, and watch the pool meanwhile. See ``workload.run``.

    Args:
        db: the manager they share.
        tasks: how many.
        seconds: how long.
        on_sample: called ten times a second on a thread. What it raises ends the work, and is raised from here.
    """
    shop = await db.run_sync(Shop)
    stop = asyncio.Event()
    outcomes = [Outcome() for _ in range(tasks)]
    before, began, total = db.stats(), monotonic(), Outcome()
    async with asyncio.TaskGroup() as crew:
        for number, outcome in enumerate(outcomes):
            delay = seconds * ARRIVAL * number / tasks
            crew.create_task(_work(db, shop, Random(number), delay, stop, outcome), name=f"visitor-{number}")
        try:
            while monotonic() < began + seconds:
                total.samples.append(workload.sample(db))
                await asyncio.to_thread(on_sample, monotonic() - began)
                await asyncio.sleep(SAMPLE_EVERY)
        finally:
            stop.set()
    total.finish(outcomes, monotonic() - began, before, db.stats())
    return total


async def _work(
    db: AsyncDatabaseConnectionManager, shop: Shop, dice: Random, delay: float, stop: asyncio.Event, outcome: Outcome
) -> None:
    """One visitor: comes after ``delay`` seconds, does one thing after the other until told to stop."""
    await asyncio.sleep(delay)
    operations = shop.operations(dice)
    names = list(operations)
    weights = list(itertools.accumulate(share for share, _ in operations.values()))
    failures = 0
    while not stop.is_set() and failures < ERRORS_IN_A_ROW:
        (name,) = dice.choices(names, cum_weights=weights)
        operation = operations[name][1]
        try:
            result = await db.run_sync(lambda _, operation=operation: operation())
        except OutOfStockError:
            outcome.sold_out += 1
        except Exception as error:  # noqa: BLE001 - kept, and shown at the end
            outcome.failed(name, error)
            failures += 1
        else:
            outcome.succeeded(name, result)
            failures = 0


def demonstrate(
    options: argparse.Namespace,
    intake: Intake,
    settings: DatabaseSettings,
    screen: Screen,
    prove: Callable[..., int],
    prepare: Callable[..., None],
) -> int:
    """Migrate and load with the threads' manager, then work on a loop, and prove; return the exit code."""
    most, tasks = settings.policy.max_size, options.threads or TASKS
    with ExitStack() as stack:
        ctrl_c = stack.enter_context(CtrlC())
        prepare(settings, intake, screen, ctrl_c)
        report.show_notes(intake.notes, options.report, screen.say)
        server_side = stack.enter_context(ServerSide(settings))

        def on_sample(elapsed: float) -> None:
            server_side.observe(most)
            screen.progress(min(elapsed / options.seconds, 1), f"{elapsed:.1f} of {options.seconds:g} s")
            ctrl_c.check()

        async def main() -> int:
            async with AsyncDatabaseConnectionManager(settings) as db:
                db.sessions.configure(expire_on_commit=False)
                outcome = await run(db, tasks=tasks, seconds=options.seconds, on_sample=on_sample)
                screen.progress(1, f"{outcome.seconds:.1f} s")
                report.show_outcome(outcome, max_size=most, screen=screen)
                return await asyncio.to_thread(prove, Closing(db), server_side, outcome, most, screen.say)

        screen.say()
        screen.say(f"{tasks} tasks, three repositories, one pool ({settings.policy.min_size} to {most})")
        return asyncio.run(main())
