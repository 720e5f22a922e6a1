"""What every test may ask for: a real server, a database of its own, and an environment without a developer's settings.

- ``server``: one embedded PostgreSQL for the whole run of a worker (``EmbeddedPostgres``). Never stop or change it;
  a test about outages starts its own.
- ``database``: the URL of a fresh, empty database, dropped after the test.
- ``memory_folder``: where a test's own server starts fastest (``EmbeddedPostgres.start(temp_dir=memory_folder)``).
- ``shared_database``: the URL of one database that all tests of the worker share: cheaper, for tests that only read or
  that use temporary tables.
- ``admin``: a superuser's own connection to that database, beside all pools.
- ``table``: an empty table in the database of the ``db`` that the test's own folder defines.
"""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
import uuid
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from dbkit.embedded import EmbeddedPostgres
from dbkit.testing import places

from .pool.helpers import Admin

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in jobs that a shell started in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # for the tests of Ctrl-C, and the children they start

# Many tests start programs that import dbkit. Where bytecode is not written, as containers like to set it, each of them
# would compile all of it again, and each run of the tests every test.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# pytest-timeout bounds every test; a deadline for each example would only measure the machine.
hypothesis_settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("untimed")

_numbers = itertools.count(1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """While tests are collected next to nothing becomes garbage, and the collector would look for it in vain."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Leave all modules and tests to themselves: a collection, which many tests wait for, looks at what came since."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def memory_folder() -> str | None:
    """Return a folder in memory with room enough, or None."""
    return places.memory_folder()


@pytest.fixture(autouse=True, scope="session")
def _no_settings_of_the_developer() -> Iterator[None]:
    """Take ``DB_*``, ``DATABASE_URL``, ``IDENTITY_ENABLED`` and ``PG*`` out of the environment for the whole run."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("DB_", "PG")) or name in ("DATABASE_URL", "IDENTITY_ENABLED"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def server(_no_settings_of_the_developer: None, memory_folder: str | None) -> Iterator[EmbeddedPostgres]:
    """Return this worker's PostgreSQL server; it takes 200 connections."""
    with EmbeddedPostgres.start(settings={"max_connections": 200}, temp_dir=memory_folder, timeout=180) as running:
        yield running


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[str]:
    """Return the URL of a fresh database, dropped after the test, with all sessions in it."""
    name = f"test_{next(_numbers)}"
    yield server.create_database(name)
    server.drop_database(name)


@pytest.fixture(scope="session")
def shared_database(server: EmbeddedPostgres) -> str:
    """Return the URL of the database that tests share."""
    return server.create_database("shared")


@pytest.fixture
def admin(shared_database: str) -> Iterator[Admin]:
    """Return a superuser's own connection, beside all pools."""
    found = Admin(shared_database)
    yield found
    found.close()


@pytest.fixture
def table(admin: Admin) -> Iterator[str]:
    """An empty table of the shared database (id integer primary key, name text)."""
    name = f"t_{uuid.uuid4().hex}"
    admin.rows(f"CREATE TABLE {name} (id integer PRIMARY KEY, name text)")
    yield name
    admin.rows(f"DROP TABLE {name}")
