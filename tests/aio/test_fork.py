"""After a fork the child's pool starts empty on a loop of its own, and the parent's sessions live on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sqlalchemy import make_url

from ..pool.helpers import Admin

SCRIPT = """
import asyncio, os, sys
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from dbkit import AsyncElasticPool

engine = create_async_engine(sys.argv[1], poolclass=AsyncElasticPool, min_size=0, max_size=2)

async def pid():
    async with engine.connect() as connection:
        return await connection.scalar(text("SELECT pg_backend_pid()"))

async def in_use():
    first = await pid()  # it lies idle in the pool
    child = os.fork()
    if child == 0:
        return first, None
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the child failed"
    if engine.dialect.driver != "asyncpg":  # whose finalizer takes its sockets out of the selector, which both share
        assert await pid() == first, "the parent's connection did not survive"
    return first, child

loop = asyncio.new_event_loop()
first, child = loop.run_until_complete(in_use())
if child is None:  # in the child: its parent's loop is not its own
    asyncio._set_running_loop(None)
    second = asyncio.run(pid())
    os._exit(0 if second != first and engine.pool.stats().size == 0 else 1)
loop.run_until_complete(engine.dispose())
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
print("well")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_has_connections_of_its_own_and_the_parents_live_on(driver: str, shared_database: str, admin: Admin):
    """In a process of its own: a test runner with threads of its own had better not fork."""
    url = make_url(shared_database).set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)
    done = subprocess.run([sys.executable, "-c", SCRIPT, url], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "well", done.stderr
