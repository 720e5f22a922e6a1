"""A storm of cancellations leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
import random
from statistics import median

from sqlalchemy import text

from ..pool.helpers import Admin
from .helpers import async_engine, eventually, sessions
from .stepping import Stepped, complaints


def test_a_storm_of_cancellations(run, driver: str, shared_database: str, admin: Admin, caplog):
    """10,000 borrowers, each cancelled within 20 ms. The next ones wait no longer than before the storm.

    Counted, not timed: they await as often as before, and nobody stands in line or for a new connection.
    """
    caplog.set_level(logging.WARNING)
    engine = async_engine(shared_database, driver, max_size=8, pool_timeout=60)
    random.seed(5)

    async def borrow() -> None:
        async with engine.connect() as connection:
            await connection.scalar(text("SELECT 1"))

    async def awaits_of_one() -> float:
        waited = engine.pool.stats()
        counts = []
        for _ in range(51):
            step = Stepped(borrow(), 0)
            await step
            counts.append(step.awaits)
        stats = engine.pool.stats()
        assert (stats.opens, stats.wait_time.count) == (waited.opens, waited.wait_time.count)
        return median(counts)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(borrow() for _ in range(100)))
        before = await awaits_of_one()
        for _ in range(10):
            tasks = [asyncio.create_task(borrow()) for _ in range(1000)]
            for task in tasks:
                loop.call_later(random.random() * 0.02, task.cancel)
            await asyncio.wait(tasks)
        await eventually(lambda: engine.pool.stats().in_use == engine.pool.stats().opening == 0)
        stats = engine.pool.stats()
        assert (stats.waiting, stats.idle) == (0, stats.size)
        await eventually(lambda: sessions(admin, engine) <= 8)  # a closed one is gone a moment later at the server
        await borrow()  # it may have to open one: the storm has closed some
        assert await awaits_of_one() == before
        await engine.dispose()

    run(main())
    assert complaints(caplog) == []
