from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import make_url
from sqlalchemy.util import greenlet_spawn

from dbkit.drivers import for_dialect
from dbkit.drivers.base import Driver

from ..pool.runtimes import loop_runner


@pytest.fixture(params=["psycopg", "asyncpg"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each driver for event loops."""
    name: str = request.param
    return name


@pytest.fixture
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Makes the loop of ``run``: asyncio's own, but in a test that is marked ``on_uvloop_too``."""
    found: Callable[[], asyncio.AbstractEventLoop] | None = getattr(request, "param", None)
    return found


@pytest.fixture
def run(new_loop: Callable[[], asyncio.AbstractEventLoop] | None) -> Iterator[Callable[..., Any]]:
    """Run coroutines on one event loop, whose errors nobody retrieved fail the test."""
    with loop_runner(new_loop) as found:
        yield found
        gc.collect()


@pytest.fixture
def made(driver: str) -> Driver:
    """The driver."""
    name = {"psycopg": "psycopg_async"}.get(driver, driver)
    dialect: Any = make_url(f"postgresql+{name}://").get_dialect()
    return for_dialect(dialect())


@pytest.fixture
def params(shared_database: str) -> dict[str, Any]:
    """libpq's parameters of the shared database."""
    url = make_url(shared_database)
    return {
        "host": url.host, "port": url.port, "user": url.username, "password": url.password, "dbname": url.database,
    }  # fmt: skip


@pytest.fixture
def in_a_greenlet() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Run a synchronous body in a greenlet, on a loop of its own. What it drops is not collected, as after ``run``."""
    with loop_runner() as runner:
        yield lambda body: runner(greenlet_spawn(body))


@pytest.fixture
def on_a_connection(in_a_greenlet: Any, made: Driver, params: dict[str, Any]) -> Callable[..., None]:
    """Run a synchronous body in a greenlet, with a new connection, which is ended after it."""

    def within(body: Callable[[Any], None], **more: Any) -> None:
        def whole() -> None:
            connection = made.connect(**params, **more)
            try:
                body(connection)
            finally:
                made.terminate(connection)

        in_a_greenlet(whole)

    return within
