"""Several hosts, of which the first says nothing: the second is reached well before a borrower gives up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import make_url

from dbkit import AsyncDatabaseConnectionManager, DatabaseConnectionManager, PoolTimeoutError

from ..pool.helpers import Task


@pytest.fixture
def target(shared_database: str) -> Iterator[dict[str, Any]]:
    """Return settings with two hosts: for the first the system accepts, and nobody answers."""
    url = make_url(shared_database)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        yield {
            "host": "127.0.0.1,127.0.0.1", "port": f"{mute.getsockname()[1]},{url.port}",
            "user": url.username, "password": url.password, "database": url.database,
        }  # fmt: skip


def by_threads(settings: dict[str, Any], driver: str) -> None:
    with DatabaseConnectionManager(settings | {"driver": driver}, min_size=0, timeout=9) as db:
        assert db.execute_query("SELECT 1").scalar() == 1
        assert db.stats().opens == 1


def by_loop(settings: dict[str, Any], driver: str) -> None:
    async def run() -> None:
        async with AsyncDatabaseConnectionManager(settings | {"driver": driver}, min_size=0, timeout=9) as db:
            assert (await db.execute_query("SELECT 1")).scalar() == 1
            assert db.stats().opens == 1

    asyncio.run(run())


def test_a_mute_first_host_does_not_use_up_a_borrowers_time(target: dict[str, Any]) -> None:
    writer = target | {"target_session_attrs": "read-write", "host": "localhost,localhost"}
    side_by_side = [
        Task(work, settings, driver)
        for work, drivers in ((by_threads, ("psycopg2", "psycopg")), (by_loop, ("psycopg", "asyncpg")))
        for driver in drivers
        for settings in (target, writer)
    ]
    for task in side_by_side:
        task.outcome()  # at the 10 s of a single host it would be too late


def test_what_the_user_says_stands(target: dict[str, Any]) -> None:
    with DatabaseConnectionManager(target, min_size=0, timeout=2.5) as db:
        assert db.execute_query("SELECT 1").scalar() == 1
    with DatabaseConnectionManager(target | {"connect_timeout": 3}, min_size=0, timeout=2.5) as db:
        with pytest.raises(PoolTimeoutError):
            db.execute_query("SELECT 1")
