"""Loops come and go; the pool goes with them."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, exc, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from dbkit.pool.elastic import ElasticPool
from dbkit.pool.elastic_asyncio import AsyncElasticPool
from dbkit.pool.errors import TwoLoopsError

from ..pool.helpers import Admin
from ..pool.helpers import eventually as eventually_now
from .helpers import async_engine, eventually, sessions


async def ask(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        found = await connection.scalar(text("SELECT pg_backend_pid()"))
    return int(found)


def runners() -> list[Any]:
    import uvloop

    return [asyncio.run, uvloop.run]


@pytest.mark.parametrize("run_once", runners(), ids=["asyncio", "uvloop"])
def test_a_script_may_run_twice_and_nothing_is_left_open(
    driver: str, shared_database: str, admin: Admin, run_once: Callable[..., Any]
):
    """No warning, no pending task, no socket: the test fails on any (``filterwarnings = error``)."""
    engine = async_engine(shared_database, driver, min_size=1, max_size=3)
    first = run_once(ask(engine))
    eventually_now(lambda: sessions(admin, engine) == 0)  # the loop's end closed its connections
    assert run_once(ask(engine)) != first
    assert engine.pool.stats().opens == 2
    run_once(ask(engine))
    gc.collect()
    eventually_now(lambda: sessions(admin, engine) == 0)


def test_a_loop_that_is_closed_without_being_shut_down(driver: str, shared_database: str, admin: Admin):
    engine = async_engine(shared_database, driver, max_size=2)
    loop = asyncio.new_event_loop()
    first = loop.run_until_complete(ask(engine))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio's, of the generator that nobody closed
        loop.close()
        assert asyncio.run(ask(engine)) != first
        gc.collect()
    eventually_now(lambda: sessions(admin, engine) == 0)


def test_a_loop_that_is_shut_down_with_attempts_under_way(driver: str, shared_database: str, admin: Admin):
    """Nobody cancels the pool's own tasks before: it ends them by itself, or asyncio complains of them."""
    engine = async_engine(shared_database, driver, min_size=3, max_size=3)

    async def begin() -> None:
        task = asyncio.create_task(ask(engine))
        await eventually(lambda: engine.pool.stats().opening)
        task.cancel()
        await asyncio.wait([task])

    loop = asyncio.new_event_loop()
    complaints: list[Any] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    loop.run_until_complete(begin())
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert asyncio.all_tasks(loop) == set()
    loop.close()
    gc.collect()
    assert complaints == []
    eventually_now(lambda: sessions(admin, engine) == 0)


def test_a_dispose_after_the_loop_leaves_nothing_of_it(driver: str, shared_database: str, admin: Admin):
    engine = async_engine(shared_database, driver, max_size=2)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(ask(engine))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio's, of the generator that nobody closed
        loop.close()
        pool = engine.pool
        assert pool.stats().size == 1
        engine.sync_engine.dispose()
        assert pool.stats().size == 0
        gc.collect()
    eventually_now(lambda: sessions(admin, engine) == 0)


def test_a_dispose_returns_when_all_is_closed_and_without_a_greenlet_at_once(
    run, driver: str, shared_database: str, admin: Admin
):
    engine = async_engine(shared_database, driver, max_size=2)

    async def main() -> None:
        await ask(engine)
        await engine.dispose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await ask(engine)
        engine.sync_engine.dispose()
        await eventually(lambda: sessions(admin, engine) == 0)

    run(main())


def test_a_connection_that_is_out_when_its_loop_ends(driver: str, shared_database: str, admin: Admin):
    engine = async_engine(shared_database, driver, max_size=1)
    kept: list[Any] = []

    async def keep() -> None:
        kept.append(await engine.connect())
        await kept[0].scalar(text("SELECT 1"))

    async def go_on() -> int:
        found = await ask(engine)
        await kept[0].close()  # its connection is no more; the new loop's is not touched by that
        assert engine.pool.stats().idle == engine.pool.stats().size == 1
        return found

    asyncio.run(keep())
    assert asyncio.run(go_on()) > 0
    eventually_now(lambda: sessions(admin, engine) == 0)


def test_two_living_loops_are_refused_and_both_are_named(driver: str, shared_database: str):
    engine = async_engine(shared_database, driver, max_size=2)
    with asyncio.Runner() as first:
        first.run(ask(engine))
        with asyncio.Runner() as second:
            with pytest.raises(TwoLoopsError) as caught:
                second.run(ask(engine))
            pool: Any = engine.pool
            for operation in (pool.warm_up, pool.pause, pool.close):
                with pytest.raises(TwoLoopsError):
                    second.run(operation())
            for runner in (first, second):
                assert f"{id(runner.get_loop()):#x}" in str(caught.value)
        first.run(ask(engine))
        first.run(engine.dispose())
        with asyncio.Runner() as second:  # nothing is open on the first any more
            second.run(ask(engine))


def test_a_loop_in_another_thread_goes_on_after_the_first(driver: str, shared_database: str):
    engine = async_engine(shared_database, driver, max_size=2)
    asyncio.run(ask(engine))
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(ask(engine))))
    thread.start()
    thread.join(60)
    assert len(found) == 1


def test_closed_stays_closed_on_the_next_loop(driver: str, shared_database: str):
    engine = async_engine(shared_database, driver, max_size=2)

    async def close() -> None:
        await ask(engine)
        assert await engine.pool.close() == ()

    asyncio.run(close())
    with pytest.raises(exc.InvalidRequestError, match="closed for good"):
        asyncio.run(ask(engine))


def test_pool_and_engine_of_different_kinds(driver: str, shared_database: str):
    url = make_url(shared_database)
    with pytest.raises(exc.ArgumentError, match=r"use poolclass=AsyncElasticPool"):
        create_async_engine(url.set(drivername=f"postgresql+{driver}"), poolclass=ElasticPool)
    with pytest.raises(exc.ArgumentError, match=r"use poolclass=ElasticPool"):
        create_engine(url.set(drivername="postgresql+psycopg2"), poolclass=AsyncElasticPool)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 has no eager tasks")
def test_jobs_do_not_depend_on_the_task_factory(run, driver: str, shared_database: str):
    """An eager factory would run a job inside of its caller's greenlet."""
    engine = async_engine(shared_database, driver, max_size=2)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        await asyncio.gather(*(ask(engine) for _ in range(20)))
        cut_off = [asyncio.create_task(ask(engine)) for _ in range(20)]
        for task in cut_off[::2]:
            task.cancel()
        await asyncio.wait(cut_off)
        await eventually(lambda: engine.pool.stats().in_use == engine.pool.stats().opening == 0)
        await engine.dispose()

    run(main())


def test_close_ends_all_tasks_of_the_pool(run, driver: str, shared_database: str, admin: Admin):
    engine = async_engine(shared_database, driver, min_size=2, max_size=4, keepalive=30)

    async def main() -> None:
        await engine.pool.warm_up()
        assert engine.pool.stats().idle == 2
        await asyncio.gather(*(ask(engine) for _ in range(20)))
        assert await engine.pool.close() == ()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await eventually(lambda: sessions(admin, engine) == 0)

    run(main())
