from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event

from dbkit.engine import build_engine
from dbkit.session import templates
from dbkit.settings import DatabaseSettings

from .doubles import Template
from .proxy import CountingProxy

DRIVERS = ["psycopg2", "psycopg"]


def make_engine(url: str, driver: str = "psycopg2", **options: object) -> Engine:
    settings = DatabaseSettings.load(
        url, env_file=None, driver=driver, min_size=0, max_size=2, timeout=120, connect_timeout=100
    )  # seconds: far more than even a busy machine needs
    return build_engine(settings, engine_options=options)


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    """Each driver that the manager speaks."""
    name: str = request.param
    return name


@pytest.fixture(params=["direct", "watched"])
def engine(request: pytest.FixtureRequest, driver: str, shared_database: str) -> Iterator[Engine]:
    """An engine for each of the two roads a statement takes, on each driver; all must give the same."""
    made = make_engine(shared_database, driver)
    if request.param == "watched":
        event.listen(made, "before_cursor_execute", lambda *args: None)
    yield made
    assert made.pool.stats().in_use == 0
    assert made.pool.close() == ()


@pytest.fixture
def table(engine: Engine) -> Iterator[str]:
    """An empty table (id integer primary key, name text)."""
    name = f"t_{uuid.uuid4().hex}"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {name} (id integer PRIMARY KEY, name text)")
    yield name
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE {name}")


@pytest.fixture
def template(monkeypatch):
    monkeypatch.setattr(templates, "Template", Template)
    return Template


@pytest.fixture
def proxy(server) -> Iterator[CountingProxy]:
    made = CountingProxy(server.host, server.port)
    yield made
    made.close()
