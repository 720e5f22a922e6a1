"""A cancellation at every await of every scenario, one after another: nothing is lost, nothing is left behind."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import exc, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from dbkit.pool.elastic_asyncio import AsyncElasticPool

from ..pool.helpers import Admin
from .helpers import async_engine, eventually, on_uvloop_too, sessions
from .stepping import cancelled_everywhere, complaints

MOST = 2
"""The maximum of the pools here."""


async def commit(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        await connection.commit()


async def roll_back_by_return(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


async def closed_by_hand(engine: AsyncEngine) -> None:
    connection = await engine.connect()
    try:
        await connection.execute(text("SELECT 1"))
        await connection.rollback()
    finally:
        await connection.close()


async def fail_and_roll_back(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        with suppress(exc.DBAPIError):
            await connection.execute(text("SELECT 1 / 0"))
        await connection.rollback()
        await connection.execute(text("SELECT 1"))


async def a_session(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(text("SELECT 1"))
        async with session.begin_nested():
            await session.execute(text("SELECT 2"))


async def raw_with_an_open_transaction(engine: AsyncEngine) -> None:
    raw = await engine.raw_connection()
    try:
        await raw.driver_connection.execute("BEGIN")
        await raw.driver_connection.execute("SELECT 1")
    finally:
        await _in_greenlet(raw.close)


async def invalidated(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        await connection.invalidate()
        await connection.rollback()
        await connection.execute(text("SELECT 2"))


async def a_stream_left_half_way(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        async with connection.stream(text("SELECT generate_series(1, 1000)")) as result:
            async for _ in result:
                break


async def disposed(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        await connection.commit()
    await engine.dispose()


async def pinged_first(engine: AsyncEngine) -> None:
    engine.sync_engine.pool._pre_ping = True
    try:
        await commit(engine)
    finally:
        engine.sync_engine.pool._pre_ping = False


async def paused_and_resumed(engine: AsyncEngine) -> None:
    pool: Any = engine.pool
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        try:
            assert await pool.pause(timeout=0.01)
        finally:
            pool.resume()
    await pool.warm_up()


async def _in_greenlet(function: Callable[[], object]) -> None:
    from sqlalchemy.util import greenlet_spawn

    await greenlet_spawn(function)


SCENARIOS: list[Callable[[AsyncEngine], Awaitable[None]]] = [
    commit,
    roll_back_by_return,
    closed_by_hand,
    fail_and_roll_back,
    a_session,
    raw_with_an_open_transaction,
    invalidated,
    a_stream_left_half_way,
    disposed,
    pinged_first,
    paused_and_resumed,
]


# psycopg warns of a server-side cursor whose own close was cut off, though its connection is closed by then.
@pytest.mark.filterwarnings("ignore:<psycopg.AsyncServerCursor:ResourceWarning")
@pytest.mark.parametrize("again", [False, True], ids=["once", "at_every_await"])
@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_is_lost_wherever_it_strikes(
    run, driver: str, shared_database: str, admin: Admin, caplog, scenario, cold: bool, again: bool
):
    caplog.set_level(logging.WARNING)
    run(_step_through(shared_database, driver, admin, scenario, cold=cold, again=again))
    assert complaints(caplog) == []


@on_uvloop_too
@pytest.mark.parametrize("again", [False, True], ids=["once", "at_every_await"])
def test_a_session_on_either_loop(run, driver: str, shared_database: str, admin: Admin, caplog, again: bool):
    caplog.set_level(logging.WARNING)
    run(_step_through(shared_database, driver, admin, a_session, cold=True, again=again))
    assert complaints(caplog) == []


async def _step_through(database: str, driver: str, admin: Admin, scenario: Any, *, cold: bool, again: bool) -> None:
    engine = async_engine(database, driver, min_size=1, max_size=MOST, pool_timeout=20)

    async def after() -> None:
        pool: Any = engine.pool
        await eventually(lambda: pool.stats().in_use == 0 and pool.stats().opening == 0)
        await eventually(lambda: sessions(admin, engine) <= MOST)
        stats = pool.stats()
        assert stats.idle == stats.size <= MOST
        await commit(engine)
        assert isinstance(engine.pool, AsyncElasticPool)

    before = engine.dispose if cold else lambda: commit(engine)
    await cancelled_everywhere(lambda: scenario(engine), again=again, before=before, after=after)
    await engine.dispose()
    await eventually(lambda: sessions(admin, engine) == 0)
