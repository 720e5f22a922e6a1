"""Who uses the pool, on a real one: call sites, endpoints, waiting caused, and all roads on which a sample ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session
from sqlalchemy.util.concurrency import greenlet_spawn

import dbkit
from dbkit import DatabaseConnectionManager, SettingsError

from .helpers import QUIET, engine_on, eventually
from .runtimes import Task, on_both, on_each_runtime, pool_class


def pool_of(engine: Any) -> Any:
    assert isinstance(engine.pool, pool_class())
    return engine.pool


def names(pool: Any) -> dict[str, Any]:
    """The uses by the function that borrows."""
    return {use.where.split(" ")[0]: use for use in pool.profile().uses}


def borrow_by_core(engine: Any) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def borrow_by_session(engine: Any) -> None:
    with Session(engine) as session:
        session.execute(text("SELECT 1"))


def borrow_by_pool(engine: Any) -> None:
    engine.pool.connect().close()


@on_both
def test_the_line_of_the_users_own_code(shared_database: str) -> None:
    with engine_on(shared_database, **QUIET) as engine:
        pool = pool_of(engine)
        pool.start_profile(every=1)
        for borrow in (borrow_by_core, borrow_by_session, borrow_by_pool):
            borrow(engine)
        found = names(pool)
        assert found.keys() == {"borrow_by_core", "borrow_by_session", "borrow_by_pool"}
        line = borrow_by_core.__code__.co_firstlineno + 1
        assert found["borrow_by_core"].where == f"borrow_by_core ({__file__}:{line})"


def test_the_managers_methods_are_not_the_users_own_code(shared_database: str) -> None:
    with DatabaseConnectionManager(shared_database, min_size=0) as db:
        db.pool.start_profile(every=1)
        db.execute_query("SELECT 1")
        with db.session_scope() as session:
            session.execute(text("SELECT 1"))
        assert names(db.pool).keys() == {"test_the_managers_methods_are_not_the_users_own_code"}


def test_a_greenlets_borrow_is_its_callers(shared_database: str) -> None:
    async def borrow_in_a_greenlet(engine: Any) -> None:
        connection = await greenlet_spawn(engine.connect)
        connection.close()

    with engine_on(shared_database, **QUIET) as engine:
        pool = pool_of(engine)
        pool.start_profile(every=1)
        asyncio.run(borrow_in_a_greenlet(engine))
        assert names(pool).keys() == {"borrow_in_a_greenlet"}


@on_both
def test_endpoints(shared_database: str) -> None:
    with engine_on(shared_database, **QUIET) as engine:
        pool = pool_of(engine)
        pool.start_profile(every=1)
        with dbkit.endpoint("GET /orders"):
            borrow_by_core(engine)
        borrow_by_core(engine)
        assert {use.endpoint for use in pool.profile().uses} == {"GET /orders", None}


@on_both
def test_who_makes_others_wait(shared_database: str) -> None:
    with engine_on(shared_database, **QUIET, max_size=1) as engine:
        pool = pool_of(engine)
        pool.start_profile(every=1)

        def hold_on() -> None:
            connection = engine.connect()
            waiting.append(Task(borrow_by_core, engine))
            eventually(lambda: pool.stats().waiting == 1)
            eventually(lambda: names(pool)["hold_on"].wait_caused > 0.02)
            connection.close()

        waiting: list[Task] = []
        hold_on()
        waiting[0].outcome()
        profile = pool.profile()
        assert profile.uses[0].where.startswith("hold_on ")
        assert profile.worst(1)[0].startswith("hold_on ")
        total = pool.stats().wait_time.total
        assert 0 < profile.uses[0].wait_caused <= total + 0.05
        assert names(pool)["borrow_by_core"].wait_caused < 0.02, "its own waiting is not caused by itself"


@on_both
def test_waiting_in_vain_counts_too(shared_database: str) -> None:
    with engine_on(shared_database, **QUIET, max_size=1) as engine:
        pool = pool_of(engine)
        pool.start_profile(every=1)
        connection = engine.connect()
        with pytest.raises(dbkit.PoolTimeoutError):
            pool.borrow(0.05)
        connection.close()
        [use] = [use for use in pool.profile().uses if use.wait_caused]
        assert use.wait_caused >= 0.05


# With psycopg SQLAlchemy leaves it open on a loop (``has_terminate`` is False), until the collector comes.
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
@on_each_runtime
@pytest.mark.parametrize("leak_after", [None, 60.0])
def test_every_road_ends_a_sample(shared_database: str, leak_after: float | None) -> None:
    with engine_on(shared_database, **QUIET, leak_after=leak_after) as engine:
        pool = pool_of(engine)
        pool.start_profile(every=1)
        engine.connect().close()
        invalidated = engine.connect()
        invalidated.invalidate()
        invalidated.close()
        detached = engine.connect()
        detached.detach()
        detached.close()
        assert pool.profile().samples == 3
        assert sum(use.out for use in pool.profile().uses) == 0
        out = engine.connect()
        profile = pool.profile()
        assert (profile.samples, sum(use.out for use in profile.uses)) == (4, 1)
        out.close()
        assert pool.profile().samples == 4


@on_both
def test_one_in_64_unless_told_otherwise(shared_database: str) -> None:
    with engine_on(shared_database, **QUIET) as engine:
        pool = pool_of(engine)
        for _ in range(64 * 40):
            pool.connect().close()
        assert 20 <= pool.profile().samples <= 80
        assert pool.profile().every == 64


@on_both
def test_stopped_it_keeps_what_it_has(shared_database: str) -> None:
    with engine_on(shared_database, **QUIET) as engine:
        pool = pool_of(engine)
        pool.start_profile(every=1)
        borrow_by_core(engine)
        pool.stop_profile()
        borrow_by_core(engine)
        assert pool.profile().samples == 1
        pool.start_profile(every=1)
        assert pool.profile().samples == 0


@on_both
def test_a_rebuilt_pool_goes_on(shared_database: str) -> None:
    with engine_on(shared_database, **QUIET) as engine:
        pool_of(engine).start_profile(every=1)
        borrow_by_core(engine)
        out = engine.connect()
        engine.dispose()
        out.close()
        borrow_by_core(engine)
        assert pool_of(engine).profile().samples == 3
        pool_of(engine).stop_profile()
        engine.dispose()
        borrow_by_core(engine)
        assert pool_of(engine).profile().samples == 3


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "64"])
def test_a_bad_number_is_refused(shared_database: str, every: Any) -> None:
    with engine_on(shared_database, **QUIET) as engine, pytest.raises(SettingsError, match="every"):
        pool_of(engine).start_profile(every=every)


@on_both
def test_leaks_are_counted(shared_database: str) -> None:
    with engine_on(shared_database, **QUIET, leak_after=0.01) as engine:
        out = engine.connect()
        eventually(lambda: pool_of(engine).stats().leaks == 1)
        out.close()
        engine.dispose()
        assert pool_of(engine).stats().leaks == 1
