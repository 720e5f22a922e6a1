"""``AsyncDatabaseConnectionManager``: the manager's names on an event loop, on both drivers."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import exc, make_url, text

from dbkit import (
    AsyncDatabaseConnectionManager,
    CredentialError,
    DatabaseConnectionManager,
    DeadlineExceeded,
    PoolClosedError,
    SettingsError,
)
from dbkit.credentials import Token

from .helpers import eventually, on_uvloop_too


@pytest.fixture
def url(shared_database: str, driver: str) -> str:
    """The shared database's URL for this driver."""
    return shared_database.replace("postgresql://", f"postgresql+{driver}://")


@pytest.fixture
def manager(url: str) -> AsyncDatabaseConnectionManager:
    return AsyncDatabaseConnectionManager(url, min_size=1, max_size=4)


@on_uvloop_too
def test_queries(run, manager: AsyncDatabaseConnectionManager, table: str):
    async def main() -> None:
        async with manager as db:
            assert (await db.execute_query("SELECT 1 AS one")).scalar() == 1
            await db.execute_query(f"INSERT INTO {table} VALUES (:id, :name)", {"id": 1, "name": "a:b%c"})
            many = [{"id": 2, "name": "b"}, {"id": 3, "name": "c"}]
            assert (await db.execute_query(f"INSERT INTO {table} VALUES (:id, :name)", many)).rowcount in (2, -1)
            rows = await db.execute_query(f"SELECT name FROM {table} WHERE id = %s AND name LIKE 'a%%'", (1,))
            assert [tuple(row) for row in rows] == [("a:b%c",)]
            with pytest.raises(exc.IntegrityError):
                await db.execute_query(f"INSERT INTO {table} VALUES (1, 'again')")
            with pytest.raises(exc.DBAPIError, match="read-only"):
                await db.execute_query(f"INSERT INTO {table} VALUES (9, 'x')", read_only=True)
            with pytest.raises(exc.DBAPIError, match="statement timeout"):
                await db.execute_query("SELECT pg_sleep(5)", timeout=0.05)
            assert (await db.execute_query(f"SELECT count(*) FROM {table}")).scalar() == 3
            assert db.stats().in_use == 0
        with pytest.raises(PoolClosedError):
            await db.execute_query("SELECT 1")

    run(main())


def test_one_round_trip(run, shared_database: str):
    """No ``BEGIN`` goes before the statement: its transaction is as old as the statement itself."""

    async def main() -> None:
        async with AsyncDatabaseConnectionManager(shared_database) as db:
            same = await db.execute_query(
                "SELECT xact_start = query_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            )
            assert same.scalar() is True

    run(main())


@on_uvloop_too
def test_scopes(run, manager: AsyncDatabaseConnectionManager, table: str):
    async def main() -> None:
        async with manager as db:
            async with db.session_scope(settings={"app.tenant": "5"}) as session:
                assert await session.scalar(text("SELECT current_setting('app.tenant')")) == "5"
                await session.execute(text(f"INSERT INTO {table} VALUES (1, 'kept')"))
                async with db.session_scope(nested=True) as inner:
                    assert inner.sync_session is session.sync_session
            with pytest.raises(ZeroDivisionError):
                async with db.session_scope() as session:
                    await session.execute(text(f"INSERT INTO {table} VALUES (2, 'lost')"))
                    raise ZeroDivisionError
            with pytest.raises(exc.DBAPIError, match="read-only"):
                async with db.session_scope(read_only=True) as session:
                    await session.execute(text(f"INSERT INTO {table} VALUES (3, 'lost')"))
            with pytest.raises(exc.PendingRollbackError, match="Nothing was committed"):
                async with db.session_scope() as session:
                    connection = await session.connection()
                    with pytest.raises(exc.DBAPIError):
                        await connection.execute(text("SELECT 1 / 0"))
            async with db.sessions() as session:
                assert await session.scalar(text(f"SELECT string_agg(name, ',') FROM {table}")) == "kept"

    run(main())


def test_options_of_sessions_hold_for_scopes_too(run, manager: AsyncDatabaseConnectionManager):
    async def main() -> None:
        async with manager as db:
            for option in (False, True):
                db.sessions.configure(expire_on_commit=option)
                assert db.sessions().sync_session.expire_on_commit == option
                async with db.session_scope() as session:
                    assert session.sync_session.expire_on_commit == option

    run(main())


@on_uvloop_too
def test_the_drivers_own_connection(run, manager: AsyncDatabaseConnectionManager, table: str, driver: str):
    async def main() -> None:
        async with manager as db:
            async with db.raw_connection() as connection:
                assert type(connection).__module__.partition(".")[0] == driver
                await connection.execute(f"INSERT INTO {table} VALUES (1, 'kept')")
            with pytest.raises(ZeroDivisionError):
                async with db.raw_connection() as connection:
                    await connection.execute(f"INSERT INTO {table} VALUES (2, 'lost')")
                    raise ZeroDivisionError
            assert (await db.execute_query(f"SELECT count(*) FROM {table}")).scalar() == 1
            assert (db.stats().opens, db.stats().in_use) == (1, 0)

    run(main())


async def rows_of(number: int) -> AsyncIterator[dict[str, Any]]:
    for id_ in range(number):
        await asyncio.sleep(0)
        yield {"id": id_, "name": f"n{id_}"}


@on_uvloop_too
def test_many_rows_from_an_asynchronous_iterable(run, manager: AsyncDatabaseConnectionManager, table: str):
    async def main() -> None:
        async with manager as db:
            assert await db.copy_rows(table, rows_of(500)) == 500
            assert await db.upsert_rows(table, [{"id": 1, "name": "new"}], key="id") == 1
            await db.execute_many(f"UPDATE {table} SET name = :name WHERE id = :id", rows_of(20))
            assert (await db.execute_query(f"SELECT count(*), max(name) FROM {table}")).one()[0] == 500
            with pytest.raises(exc.IntegrityError):
                await db.copy_rows(table, [{"id": 1, "name": "twice"}])

            async def failing() -> AsyncIterator[dict[str, Any]]:
                yield {"id": 1000, "name": "x"}
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await db.copy_rows(table, failing())
            assert (await db.execute_query(f"SELECT count(*) FROM {table}")).scalar() == 500

    run(main())


@on_uvloop_too
def test_streams_and_those_left_half_way(run, manager: AsyncDatabaseConnectionManager):
    async def main() -> None:
        async with manager as db:
            query = "SELECT n FROM generate_series(1, 2500) AS n"
            assert sum([row.n async for row in db.stream_query(query, chunk=100)]) == 2500 * 2501 // 2
            async with db.stream_query(query) as rows:
                async for _ in rows:
                    break
            assert db.stats().in_use == 0
            async for _ in db.stream_query(query):
                break  # abandoned: nobody closes it but the loop
            gc.collect()
            await eventually(lambda: db.stats().in_use == 0)

    run(main())


@on_uvloop_too
def test_transactions_that_run_again(run, manager: AsyncDatabaseConnectionManager, table: str):
    async def main() -> None:
        async with manager as db:
            await db.execute_query(f"INSERT INTO {table} VALUES (1, '0')")

            @db.transactional(isolation_level="SERIALIZABLE", retries=50)
            async def increment(session: Any, by: int) -> int:
                found = int(await session.scalar(text(f"SELECT name FROM {table} WHERE id = 1")))
                await asyncio.sleep(0)
                await session.execute(text(f"UPDATE {table} SET name = :n WHERE id = 1"), {"n": str(found + by)})
                return found

            await asyncio.gather(*(increment(1) for _ in range(8)))
            assert (await db.execute_query(f"SELECT name FROM {table}")).scalar() == "8"

    run(main())


def test_deadlines(run, manager: AsyncDatabaseConnectionManager):
    async def main() -> None:
        async with manager as db:
            await db.warm_up(30)
            with pytest.raises(DeadlineExceeded) as caught, db.deadline(0.2):
                await db.execute_query("SELECT pg_sleep(5)")
            assert caught.value.spent.statements > 0.05
            with db.deadline(30):
                await asyncio.gather(*(db.execute_query("SELECT pg_sleep(0.01)") for _ in range(4)))

    run(main())


def test_warm_up_rotate_and_repr(run, url: str):
    async def main() -> None:
        async with AsyncDatabaseConnectionManager(url, min_size=3, max_size=5, warm=True) as db:
            assert db.stats().idle == 3
            before = (await db.execute_query("SELECT pg_backend_pid()")).scalar()
            await db.rotate()
            await eventually(lambda: db.stats().closes.get("drained") == 3 and db.stats().opening == 0)
            assert (await db.execute_query("SELECT pg_backend_pid()")).scalar() != before
            assert repr(db).startswith("<AsyncDatabaseConnectionManager ")
            assert db.holders() == ()

    run(main())


@pytest.mark.parametrize("kind", ["synchronous", "asynchronous", "token"])
def test_credentials(run, url: str, kind: str):
    """A synchronous provider is asked on a thread, an asynchronous one on the loop; a token once for all."""
    password = str(make_url(url).password)
    asked: list[bool] = []

    def synchronous() -> Any:
        asked.append(threading.current_thread() is threading.main_thread())
        return Token(password) if kind == "token" else password

    async def asynchronous() -> Any:
        asked.append(asyncio.get_running_loop() is not None)
        await asyncio.sleep(0)
        return Token(password)

    async def main() -> None:
        given = asynchronous if kind == "asynchronous" else synchronous
        bare = make_url(url)._replace(password=None)
        async with AsyncDatabaseConnectionManager(bare, credential=given, min_size=4, max_size=8, warm=True) as db:
            assert db.stats().idle == 4
            await asyncio.gather(*(db.execute_query("SELECT pg_sleep(0.05)") for _ in range(16)))
        assert set(asked) == {kind == "asynchronous"}
        if kind != "synchronous":
            assert len(asked) == 1

    run(main())


def test_a_credential_that_fails_is_told_to_the_borrower(run, url: str):
    async def broken() -> str:
        raise LookupError("the vault is sealed")

    async def main() -> None:
        async with AsyncDatabaseConnectionManager(url, credential=broken) as db:
            with pytest.raises(CredentialError, match="the vault is sealed"):
                await db.execute_query("SELECT 1")

    run(main())


def test_a_wrong_password_names_the_settings_and_shows_none(run, url: str, driver: str):
    async def main() -> None:
        async with AsyncDatabaseConnectionManager(make_url(url)._replace(password="wrong-canary")) as db:
            with pytest.raises(exc.DBAPIError, match="dbkit tried") as caught:
                await db.execute_query("SELECT 1")
            assert "canary" not in str(caught.value)

    run(main())


def test_drivers_of_the_other_kind_are_refused_by_name(shared_database: str):
    with pytest.raises(SettingsError, match="asyncpg serves event loops only: use AsyncDatabaseConnectionManager"):
        DatabaseConnectionManager(shared_database.replace("postgresql:", "postgresql+asyncpg:"))
    with pytest.raises(SettingsError, match="psycopg2 cannot serve an event loop"):
        AsyncDatabaseConnectionManager(shared_database.replace("postgresql:", "postgresql+psycopg2:"))
    with pytest.raises(TypeError, match=r"AsyncDatabaseConnectionManager\(\) got an unexpected keyword argument"):
        AsyncDatabaseConnectionManager(shared_database, max_sise=3)  # type: ignore[call-arg]
    assert AsyncDatabaseConnectionManager(shared_database).engine.dialect.driver == "psycopg"


def test_parameters_that_asyncpg_lacks_are_refused(run, shared_database: str):
    url = shared_database.replace("postgresql:", "postgresql+asyncpg:")

    async def main() -> None:
        async with AsyncDatabaseConnectionManager(
            url, engine_options={"connect_args": {"load_balance_hosts": "random"}}
        ) as db:
            with pytest.raises(SettingsError, match="load_balance_hosts"):
                await db.execute_query("SELECT 1")

    run(main())


@on_uvloop_too
def test_migrations_run_beside_the_loop(run, database: str, driver: str):
    async def main() -> None:
        url = database.replace("postgresql://", f"postgresql+{driver}://")
        async with AsyncDatabaseConnectionManager(url) as db:
            turns = asyncio.create_task(count_turns())
            await db.migrate()
            turns.cancel()
            assert (await db.execute_query("SELECT count(*) FROM movies")).scalar() == 0
            await db.downgrade("base")
            with pytest.raises(exc.ProgrammingError):
                await db.execute_query("SELECT count(*) FROM movies")

    async def count_turns() -> None:
        while True:
            await asyncio.sleep(0.01)

    run(main())


def test_import_dbkit_loads_nothing_of_it():
    code = (
        "import sys, sqlalchemy; before = set(sys.modules); "  # SQLAlchemy 2.0 loads greenlet by itself
        "import dbkit; dbkit.ElasticPool; dbkit.DatabaseConnectionManager; "
        "print([name for name in ('greenlet', 'psycopg', 'asyncpg') if name in sys.modules.keys() - before])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
