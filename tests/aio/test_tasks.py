"""Holders are tasks: named, placed, and told of their own hold. What comes back from elsewhere."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from typing import Any

import anyio
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession

from dbkit.pool.errors import DeadlineExceeded, LineFullError, PoolTimeoutError
from dbkit.session.deadlines import deadline

from ..pool.helpers import Admin, unique
from .helpers import async_engine, eventually, on_uvloop_too, sessions


async def hold(engine: Any, until: asyncio.Event, begun: asyncio.Event | None = None) -> None:
    async with engine.connect() as connection:
        await connection.scalar(text("SELECT 1"))
        if begun is not None:
            begun.set()
        await until.wait()


@on_uvloop_too
def test_a_timeout_names_the_task_and_where_it_stands(run, driver: str, shared_database: str):
    engine = async_engine(shared_database, driver, max_size=1)

    async def main() -> None:
        done, begun = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(hold(engine, done, begun), name="slow-export")
        await begun.wait()
        [holder] = engine.pool.holders()
        assert (holder.thread, holder.thread_id, holder.kind) == ("slow-export", id(task), "task")
        with engine.pool.patience(0.05), pytest.raises(PoolTimeoutError) as caught:
            await engine.connect()
        assert "slow-export for" in str(caught.value)
        assert "now at hold (" in str(caught.value)
        assert "The waiting" not in str(caught.value)
        done.set()
        await task
        await engine.dispose()

    run(main())


@on_uvloop_too
def test_a_task_in_synchronous_code_is_placed_there(run, driver: str, shared_database: str, admin: Admin):
    name = unique("placed")
    asleep = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND wait_event = 'PgSleep'"
    engine = async_engine(shared_database, driver, name=name, max_size=1, pool_timeout=30)

    def report(session: Any) -> None:
        session.execute(text("SELECT pg_sleep(60)"))

    async def work() -> None:
        async with AsyncSession(engine) as session:
            await session.run_sync(report)

    async def main() -> None:
        task = asyncio.create_task(work())
        await eventually(lambda: any("report (" in place for one in engine.pool.holders() for place in one.where[:1]))
        [holder] = engine.pool.holders()
        assert [place.partition(" ")[0] for place in holder.where] == ["report", "work"]
        await eventually(lambda: admin.rows(asleep, name))  # a cancel that came before the statement would go unheard
        task.cancel()
        await asyncio.wait([task])
        await engine.dispose()

    run(main())


def test_a_task_that_locks_itself_out_is_told_so(run, driver: str, shared_database: str):
    engine = async_engine(shared_database, driver, max_size=1)

    async def main() -> None:
        async with engine.connect():
            with (
                engine.pool.patience(0.05),
                pytest.raises(PoolTimeoutError, match="The waiting task itself holds one of them"),
            ):
                await engine.connect()
        await engine.dispose()

    run(main())


def test_a_task_that_ended_and_kept_its_connection(run, driver: str, shared_database: str):
    engine = async_engine(shared_database, driver, max_size=1)

    async def main() -> None:
        kept = await asyncio.create_task(_connected(engine))
        [holder] = engine.pool.holders()
        assert holder.ended
        assert str(holder).endswith("the task has ended")
        await kept.close()
        await engine.dispose()

    run(main())


async def _connected(engine: Any) -> Any:
    return await engine.connect()


def test_a_leak_is_reported_with_the_line_that_borrowed(run, driver: str, shared_database: str, caplog):
    caplog.set_level(logging.WARNING, "dbkit.pool")
    engine = async_engine(shared_database, driver, max_size=1, leak_after=0.05)

    async def main() -> None:
        async with engine.connect():
            await eventually(lambda: caplog.records)
        await engine.dispose()

    run(main())
    assert "longer than leak_after" in caplog.text
    assert "borrowed at main (" in caplog.text


@on_uvloop_too
def test_timeouts_and_deadlines_are_each_tasks_own(run, driver: str, shared_database: str):
    engine = async_engine(shared_database, driver, max_size=1, pool_timeout=30, max_waiting=2)

    async def impatient() -> None:
        with engine.pool.patience(0.02), pytest.raises(PoolTimeoutError):
            await engine.connect()

    async def bounded() -> None:
        with pytest.raises(DeadlineExceeded), deadline(0.05):
            await engine.connect()

    async def main() -> None:
        done, begun = asyncio.Event(), asyncio.Event()
        holder = asyncio.create_task(hold(engine, done, begun))
        await begun.wait()
        waiting = [asyncio.create_task(impatient()), asyncio.create_task(bounded())]
        await eventually(lambda: engine.pool.stats().waiting == 2)
        with pytest.raises(LineFullError):
            await engine.connect()
        await asyncio.gather(*waiting)
        done.set()
        await holder
        await engine.dispose()

    run(main())


@pytest.mark.parametrize("where", ["here", "another_thread"])
@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up:sqlalchemy.exc.SAWarning")
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
def test_a_dropped_connection_frees_its_slot_and_the_line_is_told(
    run, driver: str, shared_database: str, admin: Admin, where: str
):
    engine = async_engine(shared_database, driver, max_size=1, pool_timeout=30)

    async def main() -> None:
        dropped = [await engine.raw_connection()]
        waiter = asyncio.create_task(engine.connect().__aenter__())
        await eventually(lambda: engine.pool.stats().waiting == 1)
        if where == "here":
            dropped.clear()
            gc.collect()
        else:
            thread = threading.Thread(target=lambda: (dropped.clear(), gc.collect()))
            thread.start()
            await asyncio.to_thread(thread.join)
        connection = await asyncio.wait_for(waiter, 30)
        assert await connection.scalar(text("SELECT 1")) == 1
        await connection.close()
        await eventually(lambda: sessions(admin, engine) == 1)
        await engine.dispose()

    run(main())


@on_uvloop_too
def test_a_dead_idle_connection_is_replaced_unseen(run, driver: str, shared_database: str, admin: Admin):
    engine = async_engine(shared_database, driver, max_size=1)

    async def pid() -> int:
        async with engine.connect() as connection:
            return int(await connection.scalar(text("SELECT pg_backend_pid()")))

    async def main() -> None:
        first = await pid()
        admin.rows("SELECT pg_terminate_backend(%s)", first)
        admin.rows("SELECT pg_sleep(0.01) WHERE EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)", first)
        assert await pid() != first  # the loop did not turn since: the socket tells
        second = await pid()
        admin.rows("SELECT pg_terminate_backend(%s)", second)
        await eventually(lambda: sessions(admin, engine) == 0)
        assert await pid() != second
        await engine.dispose()

    run(main())


def test_a_connect_that_fails_is_told_at_once(run, driver: str, shared_database: str):
    engine = async_engine(shared_database.replace("/shared", "/there_is_none"), driver, pool_timeout=30)

    async def main() -> None:
        began = time.monotonic()
        with pytest.raises(Exception, match="there_is_none"):
            await engine.connect()
        assert time.monotonic() - began < 10

    run(main())


@on_uvloop_too
def test_anyios_scopes_and_task_groups(run, driver: str, shared_database: str, admin: Admin):
    engine = async_engine(shared_database, driver, max_size=2, pool_timeout=20)

    async def work() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_sleep(0.01)"))

    async def main() -> None:
        for number in range(30):
            with anyio.move_on_after(0.0005 * number):
                await work()
        for number in range(20):
            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    for _ in range(6):
                        group.create_task(work())
                    await asyncio.sleep(0.001 * number)
                    raise ZeroDivisionError
        for number in range(20):
            try:
                async with asyncio.timeout(0.001 * number):
                    await work()
            except TimeoutError:
                pass
        await eventually(lambda: engine.pool.stats().in_use == engine.pool.stats().opening == 0)
        await eventually(lambda: sessions(admin, engine) <= 2)
        await work()
        await engine.dispose()

    run(main())


@pytest.mark.parametrize("scope", ["edge", "level"])
def test_a_rollback_on_return_is_finished_though_its_borrower_is_gone(
    run, driver: str, shared_database: str, admin: Admin, scope: str
):
    """The connection is kept: the cancellation of its borrower costs no reconnect."""
    engine = async_engine(shared_database, driver, max_size=1)

    async def main() -> None:
        raw = await engine.raw_connection()
        await raw.driver_connection.execute("BEGIN")
        before = engine.pool.stats().opens
        from sqlalchemy.util import greenlet_spawn

        if scope == "edge":
            task = asyncio.create_task(greenlet_spawn(raw.close))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        else:
            with anyio.CancelScope() as cancelled:
                cancelled.cancel()
                await greenlet_spawn(raw.close)
            assert cancelled.cancelled_caught
        await eventually(lambda: engine.pool.stats().idle == 1)
        assert engine.pool.stats().opens == before
        async with engine.connect() as connection:
            assert await connection.scalar(text("SELECT 1")) == 1
        await engine.dispose()

    run(main())


@on_uvloop_too
def test_a_connection_that_is_put_in_order_on_return_goes_to_one_borrower(run, driver: str, shared_database: str):
    """It was handed on, and then given back a second time by the job that had put it in order."""
    engine = async_engine(shared_database, driver, max_size=2)
    serializable = engine.execution_options(isolation_level="SERIALIZABLE")
    with_it: dict[int, int] = {}

    async def borrow(number: int) -> None:
        async with (serializable if number % 2 else engine).connect() as connection:
            pid = int(await connection.scalar(text("SELECT pg_backend_pid()")))
            with_it[pid] = with_it.get(pid, 0) + 1
            assert with_it[pid] == 1, "two borrowers have the same connection"
            await connection.scalar(text("SELECT 1"))
            raw = await connection.get_raw_connection()
            if driver == "asyncpg":
                raw.dbapi_connection.readonly = True
            else:
                raw.driver_connection.prepare_threshold = 99
            with_it[pid] -= 1

    async def main() -> None:
        await asyncio.gather(*(borrow(number) for number in range(60)))
        assert engine.pool.stats().in_use == 0
        await engine.dispose()

    run(main())


def test_events_run_as_with_threads(run, driver: str, shared_database: str):
    engine = async_engine(shared_database, driver, max_size=1)
    seen: list[str] = []
    for name in ("connect", "checkout", "reset", "checkin", "close"):
        event.listen(engine.sync_engine, name, lambda *_, name=name: seen.append(name))

    async def main() -> None:
        async with engine.connect() as connection:
            await connection.scalar(text("SELECT 1"))
        await engine.dispose()

    run(main())
    assert seen == ["connect", "checkout", "reset", "checkin", "close"]
