"""pytest's way into ``dbkit.testing``: fixtures, loaded by its entry point.

A package of its own, since pytest imports every installed plugin whenever it starts: this one imports nothing but
pytest. dbkit, SQLAlchemy and the server are imported by the first test that asks for a fixture. A project's own
``conftest.py`` may override any of them by its name.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dbkit import DatabaseConnectionManager
    from dbkit.embedded import EmbeddedPostgres
    from dbkit.testing.faults import Faults
    from dbkit.testing.rollback import RolledBack

__all__ = [
    "db",
    "db_faults",
    "db_rolled_back",
    "db_session",
    "dbkit_prepare",
    "dbkit_prepared",
    "dbkit_server",
    "dbkit_shared",
    "dbkit_template",
]

INI = "dbkit_migrations"
NONE = "none"

_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the ini file."""
    parser.addini(
        INI,
        f"the alembic.ini that migrates the databases of dbkit's fixtures, or {NONE!r} (default: alembic.ini beside "
        "pytest's own ini file, if there is one)",
        default="",
    )


@pytest.fixture(scope="session")
def dbkit_server() -> Iterator[EmbeddedPostgres]:
    """A real PostgreSQL server of this run; with pytest-xdist, of this worker. In memory where there is room."""
    from dbkit.embedded import EmbeddedPostgres
    from dbkit.testing.places import memory_folder

    with EmbeddedPostgres.start(settings={"max_connections": 200}, temp_dir=memory_folder(), timeout=180) as server:
        yield server


@pytest.fixture(scope="session")
def dbkit_prepare(pytestconfig: pytest.Config) -> Callable[[DatabaseConnectionManager], None]:
    """Makes what every test's database holds: Alembic's migrations. Override it to make it in another way."""
    ini = _ini(pytestconfig)

    def migrate(manager: DatabaseConnectionManager) -> None:
        if ini is not None:
            manager.migrate(config=ini)

    return migrate


@pytest.fixture(scope="session")
def dbkit_prepared() -> Iterator[Prepared]:
    """The prepared databases of this run, one for each ``dbkit_prepare``: folders and classes may have their own.

    Asked for after a server, so that its managers are closed before that ends.
    """
    with ExitStack() as managers:
        yield Prepared(managers)


@pytest.fixture
def dbkit_template(
    dbkit_server: EmbeddedPostgres,
    dbkit_prepared: Prepared,
    dbkit_prepare: Callable[[DatabaseConnectionManager], None],
) -> str:
    """The name of the database that the others are copies of: prepared once, and then used by nobody."""
    return dbkit_prepared.template(dbkit_server, dbkit_prepare)


@pytest.fixture
def db(dbkit_server: EmbeddedPostgres, dbkit_template: str) -> Iterator[DatabaseConnectionManager]:
    """A manager on a fresh, migrated database of the test's own, dropped after it: for what really commits."""
    from dbkit.testing.places import manager_on

    name = f"dbkit_test_{next(_numbers)}"
    url = dbkit_server.create_database(name, dbkit_template)
    try:
        with manager_on(url) as manager:
            yield manager
    finally:
        dbkit_server.drop_database(name)


@pytest.fixture
def dbkit_shared(
    dbkit_server: EmbeddedPostgres, dbkit_prepared: Prepared, dbkit_template: str
) -> DatabaseConnectionManager:
    """A manager on a migrated database that tests share, since each rolls back what it does there."""
    return dbkit_prepared.shared(dbkit_server, dbkit_template)


@pytest.fixture
def db_rolled_back(dbkit_shared: DatabaseConnectionManager) -> Iterator[RolledBack]:
    """For code that takes a manager: sessions and queries in one transaction, which the test rolls back.

    Much quicker than ``db``. Commits of the code under test release savepoints.
    """
    from dbkit.testing.rollback import rolled_back

    with rolled_back(dbkit_shared.engine) as stand_in:
        yield stand_in


@pytest.fixture
def db_session(db_rolled_back: RolledBack) -> Iterator[Session]:
    """An ORM session in a transaction that the test rolls back; ``commit()`` in the code under test works."""
    from dbkit.testing.rollback import current

    with db_rolled_back.sessions() as session, current.bound(session):
        yield session


@pytest.fixture
def db_faults(dbkit_server: EmbeddedPostgres, db: DatabaseConnectionManager) -> Faults:
    """Faults for the database of ``db``: ``kill_idle()``, ``freeze()``, ``refuse_connections()``."""
    from dbkit.testing.faults import Faults

    return Faults(dbkit_server, str(db.settings.database))


class Prepared:
    """Prepared databases: made when the first test asks, and kept until the run ends."""

    def __init__(self, managers: ExitStack) -> None:
        self._managers = managers
        self._templates: dict[tuple[EmbeddedPostgres, Callable[[DatabaseConnectionManager], None]], str] = {}
        self._shared: dict[tuple[EmbeddedPostgres, str], DatabaseConnectionManager] = {}

    def template(self, server: EmbeddedPostgres, prepare: Callable[[DatabaseConnectionManager], None]) -> str:
        """The name of the server's database that ``prepare`` made."""
        from dbkit.testing.places import manager_on

        made = self._templates.get((server, prepare))
        if made is None:
            made = f"dbkit_template_{next(_numbers)}"
            with manager_on(server.create_database(made)) as manager:
                prepare(manager)
            self._templates[server, prepare] = made
        return made

    def shared(self, server: EmbeddedPostgres, template: str) -> DatabaseConnectionManager:
        """A manager on one copy of that database."""
        from dbkit.testing.places import manager_on

        if (server, template) not in self._shared:
            url = server.create_database(f"dbkit_shared_{next(_numbers)}", template)
            self._shared[server, template] = self._managers.enter_context(manager_on(url))
        return self._shared[server, template]


def _ini(config: pytest.Config) -> Path | None:
    """The ``alembic.ini`` to migrate with."""
    given = str(config.getini(INI))
    if given == NONE:
        return None
    path = config.rootpath / (given or "alembic.ini")
    if path.is_file():
        return path
    if given:
        raise pytest.UsageError(f"{INI} = {given}: there is no file {os.fspath(path)}")
    return None
