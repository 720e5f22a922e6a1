"""Alembic migrations through the engine's own pool: the same way from a program and from the command line.

A program calls ``upgrade(engine)`` (``db.migrate()``); ``alembic upgrade head`` needs nothing but the environment. Both
end in the project's ``env.py``, which consists of one call::

    run_migrations(context, Base.metadata, otherwise=DatabaseConnectionManager)

Alembic is imported when a migration runs, not before.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dbkit.errors import DbkitError, MigrationError
from dbkit.migrate.lock import migration_lock

if TYPE_CHECKING:
    from types import ModuleType

    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from sqlalchemy import Connection, Engine, MetaData

TIMEOUT = 300.0
"""Seconds to wait for another process's migration, where nobody says otherwise."""

LOCK_TIMEOUT = 30.0
"""Seconds a migration's statement may wait for a table in use, where nobody says otherwise: everybody who comes after
it stands in line behind it, so it had better give up before they do."""

_CONNECTION = "connection"
"""Where Alembic's users put the connection for ``env.py`` to run on, in ``config.attributes``."""
_TIMEOUT = "dbkit_timeout"


class HasEngine(Protocol):
    """What ``otherwise`` makes: a ``DatabaseConnectionManager``, or anything else with an engine."""

    @property
    def engine(self) -> Engine: ...


# ---- for programs


def upgrade(
    engine: Engine,
    revision: str = "head",
    *,
    config: str | os.PathLike[str] | Config | None = None,
    script_location: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
) -> None:
    """Upgrade the database to ``revision``, as ``alembic upgrade`` does.

    One process works at a time: others wait, and then find nothing to do. Borrows one connection, also from a pool
    of one.

    Args:
        engine: where to; its pool lends the connection.
        revision: ``head``, ``heads``, a revision, or a relative one (``+1``).
        config: an ``alembic.ini``, or Alembic's ``Config``; ``alembic.ini`` in the working folder if None.
        script_location: the folder with ``env.py``, instead of ``config``.
        timeout: seconds to wait for another process's migration; 300 if None, 0 does not wait.

    Raises:
        MigrationError: no scripts are found, there is no such revision, or another process migrates for too long.
        sqlalchemy.exc.DBAPIError: the database refused a statement. The upgrade is rolled back as a whole, unless
            ``env.py`` says ``transaction_per_migration``.
    """
    if revision == "base" or revision.startswith("-"):
        raise MigrationError(f"upgrade goes up; for {revision!r} use downgrade({revision!r})")
    with _configured(engine, config, script_location, timeout) as configured:
        from alembic import command

        command.upgrade(configured, revision)


def downgrade(
    engine: Engine,
    revision: str,
    *,
    config: str | os.PathLike[str] | Config | None = None,
    script_location: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
) -> None:
    """Downgrade the database to ``revision`` (``-1``, ``base``, ...), as ``alembic downgrade`` does.

    Args and errors are those of ``upgrade``.
    """
    with _configured(engine, config, script_location, timeout) as configured:
        from alembic import command

        command.downgrade(configured, revision)


def current(
    engine: Engine,
    *,
    config: str | os.PathLike[str] | Config | None = None,
    script_location: str | os.PathLike[str] | None = None,
) -> tuple[str, ...]:
    """The revisions the database is at; empty where it was never migrated. Waits for nobody.

    Args and errors are those of ``upgrade``.
    """
    found: list[str] = []

    def note(heads: tuple[str, ...], _context: object) -> list[Any]:
        found.extend(heads)
        return []

    with _configured(engine, config, script_location, None) as configured:
        from alembic.runtime.environment import EnvironmentContext
        from alembic.script import ScriptDirectory

        script = ScriptDirectory.from_config(configured)
        with EnvironmentContext(configured, script, fn=note, dont_mutate=True):
            script.run_env()
    return tuple(found)


def check(
    engine: Engine,
    *,
    config: str | os.PathLike[str] | Config | None = None,
    script_location: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
) -> None:
    """Make sure that the database is at head and the models ask for nothing more, as ``alembic check`` does.

    Args are those of ``upgrade``.

    Raises:
        MigrationError: the database is not at head, or a revision is missing for what the message lists.
    """
    with _configured(engine, config, script_location, timeout) as configured:
        from alembic import command

        command.check(configured)


# ---- for env.py


def run_migrations(
    context: EnvironmentContext | ModuleType,
    target_metadata: MetaData | None,
    *,
    otherwise: Callable[[], AbstractContextManager[HasEngine]],
    **options: Any,
) -> None:
    """All that an ``env.py`` has to do: run what Alembic was asked for, online or offline, one process at a time.

    Runs on the connection (or engine) in ``config.attributes["connection"]``, where ``upgrade`` and Alembic's own
    recipes put it. Without one this is the command line: logging is set up from the ini file, and the engine comes
    from ``otherwise``. ``--sql`` needs no database at all. On the command line ``-x timeout=60`` changes how long to
    wait for another process, and ``-x lock_timeout=5`` how long a statement may wait for a table (both seconds).

    Args:
        context: ``alembic.context``.
        target_metadata: of the models, for autogenerate and ``alembic check``; None if there are none.
        otherwise: makes what has the engine, and closes it: ``DatabaseConnectionManager``.
        options: further arguments for Alembic's ``EnvironmentContext.configure``, over dbkit's own, which are
            ``compare_type`` and ``compare_server_default``.

    Raises:
        MigrationError: another process still migrates after the timeout.
    """
    options = {
        "target_metadata": target_metadata,
        "compare_type": True,
        "compare_server_default": True,
        **options,
    }
    config: Config = context.config
    given = config.attributes.get(_CONNECTION)
    if given is None and config.config_file_name is not None:
        _set_up_logging(config.config_file_name)
    if context.is_offline_mode():
        context.configure(
            dialect_name="postgresql", literal_binds=True, dialect_opts={"paramstyle": "named"}, **options
        )
        with context.begin_transaction():
            context.run_migrations()
    elif given is None:
        _run_from_command_line(context, otherwise, options)
    elif hasattr(given, "connect"):
        with given.connect() as connection:
            _run_online(context, connection, options)
    else:
        _run_online(context, given, options)


def _run_from_command_line(
    context: Any, otherwise: Callable[[], AbstractContextManager[HasEngine]], options: dict[str, Any]
) -> None:
    from alembic.util import CommandError

    try:
        with otherwise() as source, source.engine.connect() as connection:
            _run_online(context, connection, options)
    except DbkitError as error:  # Alembic prints the message of its own errors, and a traceback of others
        raise CommandError(str(error)) from error


def _run_online(context: Any, connection: Connection, options: dict[str, Any]) -> None:
    context.configure(connection=connection, **options)
    migration = context.get_context()
    if migration.opts.get("dont_mutate"):  # alembic current
        with context.begin_transaction():
            context.run_migrations()
        return
    schema = migration.version_table_schema
    table = f"{schema}.{migration.version_table}" if schema else migration.version_table
    asked = context.config.attributes.get(_TIMEOUT)
    timeout = _seconds(context, "timeout", TIMEOUT) if asked is None else asked
    lock_timeout = _seconds(context, "lock_timeout", LOCK_TIMEOUT)
    with (
        migration_lock(connection, table, timeout=timeout, lock_timeout=lock_timeout),
        context.begin_transaction(),
    ):
        context.run_migrations()


def _seconds(context: Any, name: str, default: float) -> float:
    """A number from the command line's ``-x name=seconds``."""
    given = context.get_x_argument(as_dictionary=True).get(name)
    if given is None:
        return default
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise MigrationError(f"-x {name}={given}: must be a number of seconds, 0 or more")
    return seconds


def _set_up_logging(ini: str | os.PathLike[str]) -> None:
    """From the ini file, where it has something to say about it."""
    from configparser import RawConfigParser
    from logging.config import fileConfig

    parser = RawConfigParser()
    parser.read(ini, encoding="utf-8")
    if parser.has_section("loggers"):
        fileConfig(parser, disable_existing_loggers=False)


# ---- from a program to Alembic


@contextmanager
def _configured(
    engine: Engine,
    config: str | os.PathLike[str] | Config | None,
    script_location: str | os.PathLike[str] | None,
    timeout: float | None,
) -> Iterator[Config]:
    """Alembic's configuration with a borrowed connection in it; Alembic's own complaints become ``MigrationError``."""
    from alembic.util import CommandError

    seconds = TIMEOUT if timeout is None else timeout
    deadline = time.monotonic() + seconds
    configured = _find(config, script_location)
    attributes = configured.attributes
    with _alone_in_this_process(seconds):
        before = dict(attributes)
        try:
            with engine.connect() as connection:
                attributes.update({_CONNECTION: connection, _TIMEOUT: max(0.0, deadline - time.monotonic())})
                yield configured
        except CommandError as error:
            raise MigrationError(str(error)) from error
        finally:
            attributes.clear()
            attributes.update(before)


@contextmanager
def _alone_in_this_process(timeout: float) -> Iterator[None]:
    """Alembic's ``context`` and ``op`` are global to the process: two threads would run on each other's."""
    lock = _turn
    if not lock.acquire(timeout=timeout):
        raise MigrationError(f"Another thread of this process is still migrating after {timeout:g} s.")
    try:
        yield
    finally:
        lock.release()


_turn = threading.Lock()


def _after_fork_in_child() -> None:
    global _turn  # noqa: PLW0603 - whoever held the old one is not in this process
    _turn = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


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
                f"there is no {path}: give config=PATH of the alembic.ini, or script_location=FOLDER with env.py"
            )
        found = Config(path)
    if script_location is not None:
        folder = Path(script_location).absolute()
        if not (folder / "env.py").is_file():
            raise MigrationError(f"there is no env.py in script_location={folder}")
        found.set_main_option("script_location", str(folder).replace("%", "%%"))
    return found
