"""One thread of a process at a time: Alembic's ``context`` and ``op`` are global, and a second thread would run on the
first one's connection.

A thread that only looks need not wait for a migration: it reads the version table by itself once ``env.py`` has told
its name, which is remembered here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from dbkit.errors import MigrationError
from dbkit.migrate.env import CONNECTION, TIMEOUT_KEY
from dbkit.runtime import forks

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory


class VersionTable(NamedTuple):
    """The table that holds the revisions a database is at."""

    name: str
    schema: str | None

    @classmethod
    def of(cls, context: MigrationContext) -> VersionTable:
        """Return the table of a configured context."""
        return cls(context.version_table, context.version_table_schema)


class Project(NamedTuple):
    """The files that decide on the version table's name."""

    ini: str | None
    section: str
    folder: str

    @classmethod
    def of(cls, config: Config, script: ScriptDirectory) -> Project | None:
        """Return the project, or None if a caller's ``config.attributes`` may change what its ``env.py`` does."""
        if config.attributes.keys() - {CONNECTION, TIMEOUT_KEY}:  # another thread's run may have put these two there
            return None
        ini = config.config_file_name
        return cls(None if ini is None else str(ini), config.config_ini_section, str(script.dir))


class Turn:
    """The right to use Alembic's globals, and the version tables seen so far. Safe for threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._tables: dict[Project, VersionTable] = {}

    def remember(self, project: Project | None, table: VersionTable) -> None:
        """Note a project's version table, for threads that look while this one migrates."""
        if project is not None:
            with self._changed:
                self._tables[project] = table
                self._changed.notify_all()

    @contextmanager
    def taken(self, timeout: float) -> Iterator[None]:
        """Take the turn for the block.

        Args:
            timeout: seconds to wait for other threads.

        Raises:
            MigrationError: another thread still has the turn.
        """
        with self.taken_unless_known(None, timeout):
            yield

    @contextmanager
    def taken_unless_known(self, project: Project | None, timeout: float) -> Iterator[VersionTable | None]:
        """Take the turn for the block, or give the version table if it is known and another thread has the turn.

        Args:
            project: the one to look at; None for none.
            timeout: seconds to wait for the turn, or for the other thread's ``env.py`` to name the table.

        Raises:
            MigrationError: neither came.
        """
        tables = self._tables
        with self._changed:
            if not self._changed.wait_for(lambda: not self._taken or project in tables, timeout):
                raise MigrationError(
                    f"Another thread of this process is still migrating after {timeout:g} s. Wait for it and try again."
                )
            table = tables.get(project) if self._taken and project is not None else None
            if table is None:
                self._taken = True
        if table is not None:
            yield table
            return
        try:
            yield None
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()


_turn = Turn()


def turn() -> Turn:
    """Return this process's."""
    return _turn


def _after_fork_in_child() -> None:
    global _turn  # noqa: PLW0603 - the thread that had the old turn is not in this process
    _turn = Turn()


forks.in_child(_after_fork_in_child)
