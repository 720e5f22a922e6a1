"""A cancellation at every await of the manager's coroutines, one after another: nothing is lost or left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncSession

from dbkit import AsyncDatabaseConnectionManager

from ..pool.helpers import Admin, name_argument, unique
from .helpers import eventually
from .stepping import cancelled_everywhere, complaints

MOST = 2
"""The maximum of the pools here."""

Scenario = Callable[[AsyncDatabaseConnectionManager, str], Awaitable[object]]


async def a_query(db: AsyncDatabaseConnectionManager, table: str) -> None:
    await db.execute_query("SELECT CAST(:one AS integer) AS one", {"one": 1})


async def a_scope(db: AsyncDatabaseConnectionManager, table: str) -> None:
    async with db.session_scope() as session:
        await session.execute(text(f"DELETE FROM {table}"))
        async with db.session_scope(nested=True) as inner:
            await inner.execute(text(f"INSERT INTO {table} VALUES (1, 'a')"))


async def a_scope_with_settings(db: AsyncDatabaseConnectionManager, table: str) -> None:
    async with db.session_scope(read_only=True, isolation_level="SERIALIZABLE", timeout=30) as session:
        await session.scalar(text(f"SELECT count(*) FROM {table}"))


async def the_drivers_connection(db: AsyncDatabaseConnectionManager, table: str) -> None:
    async with db.raw_connection() as connection:
        await connection.execute(f"DELETE FROM {table}")


async def a_transaction(db: AsyncDatabaseConnectionManager, table: str) -> None:
    async def work(session: AsyncSession) -> None:
        await session.execute(text(f"DELETE FROM {table}"))

    await db.run_in_transaction(work, isolation_level="REPEATABLE READ")


async def a_stream_to_its_end(db: AsyncDatabaseConnectionManager, table: str) -> None:
    async with db.stream_query("SELECT generate_series(1, 25) AS n", chunk=10) as rows:
        async for _ in rows:
            pass


async def a_stream_left_half_way(db: AsyncDatabaseConnectionManager, table: str) -> None:
    async with db.stream_query("SELECT generate_series(1, 25) AS n", chunk=10) as rows:
        async for _ in rows:
            break


async def copied_rows(db: AsyncDatabaseConnectionManager, table: str) -> None:
    async def rows() -> AsyncIterator[tuple[int, str]]:
        for number in range(3):
            await asyncio.sleep(0)
            yield number, "copied"

    async with db.session_scope() as session:
        await session.execute(text(f"TRUNCATE {table}"))
    await db.copy_rows(table, rows(), columns=["id", "name"])


async def many_executions(db: AsyncDatabaseConnectionManager, table: str) -> None:
    rows = [{"id": number, "name": "many"} for number in range(3)]
    await db.execute_many(f"INSERT INTO {table} VALUES (:id, :name) ON CONFLICT DO NOTHING", rows, batch=2)


async def warmed_up_and_rotated(db: AsyncDatabaseConnectionManager, table: str) -> None:
    await db.engine.dispose()
    await db.warm_up()
    await db.rotate()


SCENARIOS: list[Scenario] = [
    a_query,
    a_scope,
    a_scope_with_settings,
    the_drivers_connection,
    a_transaction,
    a_stream_to_its_end,
    a_stream_left_half_way,
    copied_rows,
    many_executions,
    warmed_up_and_rotated,
]

at_each_and_at_all = pytest.mark.parametrize("again", [False, True], ids=["once", "at_every_await"])


def manager(database: str, driver: str, name: str) -> AsyncDatabaseConnectionManager:
    url = make_url(database).set(drivername=f"postgresql+{driver}")
    options = {"connect_args": name_argument(driver, name)}
    numbers: dict[str, Any] = {"min_size": 1, "max_size": MOST, "timeout": 20, "max_idle": None, "keepalive": None}
    return AsyncDatabaseConnectionManager(url, engine_options=options, **numbers)


def sessions(admin: Admin, name: str) -> int:
    return len(admin.pids(name))


# psycopg warns of a server-side cursor whose own close was cut off, though its connection is closed by then; and its
# pipeline, dropped where it was cut off, would go on with that connection.
@pytest.mark.filterwarnings("ignore:<psycopg.AsyncServerCursor:ResourceWarning")
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <generator object BasePipeline:pytest.PytestUnraisableExceptionWarning"
)
@at_each_and_at_all
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_is_lost_wherever_it_strikes(
    run, driver: str, shared_database: str, admin: Admin, table: str, caplog, scenario: Scenario, again: bool
):
    caplog.set_level(logging.WARNING)
    name = unique("cancelled")

    async def main() -> None:
        async with manager(shared_database, driver, name) as db:

            async def after() -> None:
                await eventually(lambda: db.stats().in_use == 0 and db.stats().opening == 0)
                await eventually(lambda: sessions(admin, name) <= MOST)
                stats = db.stats()
                assert stats.idle == stats.size <= MOST
                await a_query(db, table)

            async def step() -> None:
                await scenario(db, table)

            await cancelled_everywhere(step, again=again, before=lambda: a_query(db, table), after=after)
        await eventually(lambda: sessions(admin, name) == 0)

    run(main())
    assert complaints(caplog) == []


@at_each_and_at_all
def test_a_manager_is_closed_wherever_it_strikes(
    run, driver: str, shared_database: str, admin: Admin, caplog, again: bool
):
    caplog.set_level(logging.WARNING)
    name = unique("closed")
    made: list[AsyncDatabaseConnectionManager] = []

    async def a_life() -> None:
        made.append(manager(shared_database, driver, name))
        async with made[-1] as db:
            await db.warm_up()
            async with db.session_scope() as session:
                await session.execute(text("SELECT 1"))

    async def after() -> None:
        await eventually(lambda: made[-1].stats().size == 0)
        await eventually(lambda: sessions(admin, name) == 0)

    run(cancelled_everywhere(a_life, again=again, before=lambda: asyncio.sleep(0), after=after))
    assert complaints(caplog) == []


@at_each_and_at_all
def test_a_migration_is_finished_wherever_it_strikes(run, driver: str, database: str, caplog, again: bool):
    """It has begun, so it goes on, on its thread; at the end all of it is there, once."""
    name = unique("migrated")

    async def main() -> None:
        watch = Admin(database)
        async with manager(database, driver, name) as db:

            async def after() -> None:
                await eventually(lambda: watch.rows("SELECT to_regclass('movies')") != [(None,)])
                await eventually(lambda: not others(watch))
                assert db.stats().in_use == db.stats().opening == 0
                await db.downgrade("base")

            await cancelled_everywhere(db.migrate, again=again, before=lambda: asyncio.sleep(0), after=after)
        await eventually(lambda: not others(watch))
        watch.close()

    def others(watch: Admin) -> list[Any]:
        query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        return watch.rows(f"{query} AND application_name <> %s", name)

    run(main())
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []
