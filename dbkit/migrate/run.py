"""For programs: ``upgrade``, ``downgrade``, ``stamp``, ``current``, ``history`` and ``check`` on a database."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dbkit.errors import MigrationError
from dbkit.migrate.env import CONNECTION, TIMEOUT, TIMEOUT_KEY
from dbkit.migrate.guard import run_env
from dbkit.migrate.revisions import Revision, all_revisions
from dbkit.migrate.target import HasEngine, engine_for_migrations, reserved
from dbkit.migrate.turn import Project, VersionTable, turn

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection, Engine

    from dbkit.migrate.plan import Work

FIRST_LOOK: Final = 5.0
"""Seconds that ``current`` waits at most for another thread's ``env.py`` to name the version table, the first time."""


def upgrade(
    database: Engine | HasEngine,
    revision: str = "head",
    *,
    config: str | os.PathLike[str] | Config | None = None,
    script_location: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
) -> None:
    """Upgrade the database to ``revision``, as ``alembic upgrade`` does.

    One process works at a time; the others wait, and then find nothing to do. The threads of a process take turns in
    the same way. Borrows one connection, also from a pool of one or a busy pool: it stands in line for as long as it
    may wait for a migration.

    A statement that waits for a table in use gives up after 2 s, so that no queries pile up behind it. All is rolled
    back and, after a pause, run again, until the time is over. The server ends the session of a process that was killed
    within a second (PostgreSQL 14 and later, on Linux). Ctrl-C cancels the statement. A person who watches (standard
    error is a terminal) sees one line per revision.

    Args:
        database: an engine, whose pool lends the connection, or a ``DatabaseConnectionManager``, which knows of a
            ``DB_MIGRATION_URL``.
        revision: ``head``, ``heads``, a revision, or a relative one (``+1``).
        config: an ``alembic.ini``, or Alembic's ``Config``; ``alembic.ini`` in the working folder if None.
        script_location: the folder with ``env.py``, instead of ``config``.
        timeout: seconds to wait for another migration and for tables in use, all in all; 300 if None, 0 does not wait.

    Raises:
        MigrationError: no scripts are found, there is no such revision, another migration takes too long, or
            ``env.py`` does not use the connection it is given: it is refused before it changes any database, and the
            message has the lines to put into it.
        RevisionFailedError: a revision raised, or the database refused a statement (the ``__cause__``). The upgrade is
            rolled back as a whole, unless ``env.py`` says ``transaction_per_migration``.
        PoolerError: a pooler such as PgBouncer stands between, and the migration is more than one transaction.
        PoolTimeoutError: no connection came back to the pool in time.
    """
    if revision == "base" or revision.startswith("-"):
        raise MigrationError(f"upgrade goes up; for {revision!r} use downgrade({revision!r})")
    with _open(config, script_location) as (found, script):
        _refuse_range(revision)
        _run(
            database, found, script, timeout,
            lambda heads, _: script._upgrade_revs(revision, heads), destination_rev=revision,
        )  # fmt: skip


def downgrade(
    database: Engine | HasEngine,
    revision: str,
    *,
    config: str | os.PathLike[str] | Config | None = None,
    script_location: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
) -> None:
    """Downgrade the database to ``revision`` (``-1``, ``base``, ...), as ``alembic downgrade`` does.

    Args and errors are those of ``upgrade``.
    """
    with _open(config, script_location) as (found, script):
        _refuse_range(revision)
        _run(
            database, found, script, timeout,
            lambda heads, _: script._downgrade_revs(revision, heads), destination_rev=revision,
        )  # fmt: skip


def stamp(
    database: Engine | HasEngine,
    revision: str,
    *,
    purge: bool = False,
    config: str | os.PathLike[str] | Config | None = None,
    script_location: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
) -> None:
    """Note in the database that it is at ``revision``, and run nothing, as ``alembic stamp`` does.

    Args:
        database: as for ``upgrade``.
        revision: ``head``, ``heads``, ``base`` or a revision.
        purge: forget first what is noted, for a database that names revisions which are no longer there.
        config, script_location, timeout: as for ``upgrade``.

    Errors are those of ``upgrade``.
    """
    with _open(config, script_location) as (found, script):
        _refuse_range(revision)
        _run(
            database, found, script, timeout,
            lambda heads, _: script._stamp_revs((revision,), heads), destination_rev=(revision,), purge=purge,
        )  # fmt: skip


def history(
    database: Engine | HasEngine,
    *,
    config: str | os.PathLike[str] | Config | None = None,
    script_location: str | os.PathLike[str] | None = None,
) -> tuple[Revision, ...]:
    """Return all revisions there are, the newest first, each with whether the database has it. Does not wait.

    Args and errors are those of ``current``; a ``MigrationError`` too if the database is at a revision that is not
    among the scripts.
    """
    with _open(config, script_location) as (found, script):
        return all_revisions(script, current(database, config=found))


def current(
    database: Engine | HasEngine,
    *,
    config: str | os.PathLike[str] | Config | None = None,
    script_location: str | os.PathLike[str] | None = None,
) -> tuple[str, ...]:
    """Return the revisions the database is at; empty if it was never migrated. Does not wait for a migration.

    While another thread of this process migrates, the answer is read from the version table that ``env.py`` last
    named. Only if ``env.py`` has not run in this process yet, or if the ``config`` has attributes of its own, does the
    call wait for that thread, for 5 seconds at most.

    Args and errors are those of ``upgrade``.
    """
    found_heads: list[str] = []

    def look(heads: tuple[str, ...], _context: object) -> list[Any]:
        found_heads.extend(heads)
        return []

    with _open(config, script_location) as (found, script):
        project = Project.of(found, script)
        with (
            turn().taken_unless_known(project, FIRST_LOOK) as table,
            engine_for_migrations(database) as engine,
            engine.connect() as connection,
        ):
            if table is not None:
                return _read(connection, table)
            _run_on(connection, found, script, 0.0, look, dont_mutate=True)
    return tuple(found_heads)


def check(
    database: Engine | HasEngine,
    *,
    config: str | os.PathLike[str] | Config | None = None,
    script_location: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
) -> None:
    """Make sure that the database is at head and the models ask for nothing more, as ``alembic check`` does.

    Args are those of ``upgrade``.

    Raises:
        MigrationError: the database is not at head, or no revision makes what the message lists; and as ``upgrade``.
    """
    from alembic.autogenerate import RevisionContext

    arguments = dict.fromkeys(("message", "branch_label", "version_path", "rev_id", "depends_on"))
    command: dict[str, Any] = {**arguments, "autogenerate": True, "sql": False, "head": "head", "splice": False}

    with _open(config, script_location) as (found, script):
        revisions = RevisionContext(found, script, command)

        def compare(heads: Any, context: Any) -> list[Any]:
            revisions.run_autogenerate(heads, context)
            return []

        _run(
            database, found, script, timeout, compare,
            template_args=revisions.template_args, revision_context=revisions,
        )  # fmt: skip
        missing = [diff for ops in revisions.generated_revisions[-1].upgrade_ops_list for diff in ops.as_diffs()]
    if missing:
        raise MigrationError(
            f"the models differ from the database, and no revision makes up for it: {missing}. "
            "`alembic revision --autogenerate` writes one."
        )


# ---- from a program to Alembic


@contextmanager
def _open(
    config: str | os.PathLike[str] | Config | None, script_location: str | os.PathLike[str] | None
) -> Iterator[tuple[Config, ScriptDirectory]]:
    """Find the scripts; Alembic's own complaints in the block become ``MigrationError``."""
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    found = _find(config, script_location)
    try:
        yield found, ScriptDirectory.from_config(found)
    except CommandError as error:
        raise MigrationError(str(error)) from error


def _find(config: str | os.PathLike[str] | Config | None, script_location: str | os.PathLike[str] | None) -> Config:
    from alembic.config import Config

    if isinstance(config, Config):
        found = config
    elif script_location is not None and config is None:
        found = Config()
    else:
        path = Path(config if config is not None else "alembic.ini").absolute()
        if not path.is_file():
            raise MigrationError(
                f"there is no {path}: give config=PATH of the alembic.ini, or script_location=FOLDER with env.py. "
                "`python -m dbkit.migrate init` makes both."
            )
        found = Config(path)
    if script_location is not None:
        folder = Path(script_location).absolute()
        if not (folder / "env.py").is_file():
            raise MigrationError(f"there is no env.py in script_location={folder}")
        found.set_main_option("script_location", str(folder).replace("%", "%%"))
    return found


def _refuse_range(revision: str) -> None:
    if ":" in revision:
        raise MigrationError(f"{revision!r} is a range, which only `alembic ... --sql` takes; give its end")


def _run(
    database: Engine | HasEngine,
    config: Config,
    script: ScriptDirectory,
    timeout: float | None,
    work: Work,
    **options: Any,
) -> None:
    """Run ``env.py`` on a borrowed connection when it is this thread's turn."""
    seconds = TIMEOUT if timeout is None else timeout
    deadline = time.monotonic() + seconds
    with (
        turn().taken(seconds),
        engine_for_migrations(database) as engine,
        reserved(engine, deadline - time.monotonic()) as connection,
    ):
        _run_on(connection, config, script, max(0.0, deadline - time.monotonic()), work, **options)


def _run_on(
    connection: Connection, config: Config, script: ScriptDirectory, timeout: float, work: Work, **options: Any
) -> None:
    """Run ``env.py`` with the connection in ``config.attributes``, which are put back afterwards."""
    project, attributes = Project.of(config, script), config.attributes
    before = dict(attributes)
    attributes.update({CONNECTION: connection, TIMEOUT_KEY: timeout})
    try:
        run_env(
            config, script, connection.engine, work,
            configured=lambda context: turn().remember(project, VersionTable.of(context)), **options,
        )  # fmt: skip
    finally:
        attributes.clear()
        attributes.update(before)


def _read(connection: Connection, table: VersionTable) -> tuple[str, ...]:
    """Read the revisions without Alembic's globals, which another thread is using."""
    from alembic.runtime.migration import MigrationContext

    options = {"version_table": table.name, "version_table_schema": table.schema}
    return MigrationContext.configure(connection, opts=options).get_current_heads()
