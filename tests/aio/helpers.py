"""What the tests on an event loop share: engines, loops, waiting for conditions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from dbkit.pool.elastic_asyncio import AsyncElasticPool

from ..pool.helpers import QUIET, Admin, name_argument, unique
from ..pool.runtimes import PATIENCE

on_uvloop_too = pytest.mark.parametrize(
    "new_loop", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"], indirect=True
)
"""A mark: the test, which uses ``run``, runs on both loops."""


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


def execute(connection: Any, sql: str) -> Any:
    """On the driver's own connection; returns the first value."""
    raw = connection.driver_connection
    if hasattr(raw, "fetchval"):
        return await_only(raw.fetchval(sql))

    async def first() -> Any:
        cursor = await raw.execute(sql)
        return (await cursor.fetchone())[0] if cursor.description else None

    return await_only(first())
