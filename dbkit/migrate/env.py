"""For ``env.py``: ``run_migrations`` runs them, on a program's connection or on the command line's database."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from dbkit.errors import DbkitError, MigrationError
from dbkit.migrate.errors import RevisionFailedError
from dbkit.migrate.online import Online
from dbkit.migrate.target import HasEngine, engine_for_migrations

if TYPE_CHECKING:
    from types import ModuleType

    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from sqlalchemy import Connection, Engine, MetaData

TIMEOUT: Final = 300.0
"""Seconds to wait for another process's migration and for tables in use, unless the caller says otherwise."""

LOCK_TIMEOUT: Final = 2.0
"""Seconds a migration's statement may wait for a table in use, each time, unless the command line says otherwise. Every
query that comes later stands in line behind the waiting statement, so it gives up, and is tried again."""

CONNECTION: Final = "connection"
"""The key of ``config.attributes`` under which Alembic's recipes look for the connection to run on."""
TIMEOUT_KEY: Final = "dbkit_timeout"
"""The key of ``config.attributes`` under which a program passes its timeout."""


def run_migrations(
    context: EnvironmentContext | ModuleType,
    target_metadata: MetaData | None,
    *,
    otherwise: Callable[[], AbstractContextManager[HasEngine]],
    **options: Any,
) -> None:
    """Run the Alembic command under way, online or offline, one process at a time: all that an ``env.py`` has to do.

    It runs on the connection (or engine) in ``config.attributes["connection"]``, where ``upgrade`` and Alembic's own
    recipes put it. Without one this is the command line: logging is set up from the ini file, and the engine comes
    from ``otherwise``: the one for ``DB_MIGRATION_URL`` where that is set. ``--sql`` needs no database at all. On the
    command line ``-x timeout=60`` changes how long to wait for another process and for tables in use, all in all, and
    ``-x lock_timeout=5`` how long one statement may wait for a table before the migration is rolled back and tried
    again (both in seconds).

    Args:
        context: ``alembic.context``.
        target_metadata: of the models, for autogenerate and ``alembic check``; None if there are none.
        otherwise: makes the object that has the engine, and closes it: ``DatabaseConnectionManager``.
        options: further arguments for Alembic's ``EnvironmentContext.configure``; they win over dbkit's own, which
            are ``compare_type`` and ``compare_server_default``.

    Raises:
        MigrationError: another process still migrates after the timeout, or ``-x`` holds no number.
        RevisionFailedError: a revision failed; it names it.
        PoolerError: a pooler stands between, and the migration needs more than one transaction.
    """
    options = {
        "target_metadata": target_metadata,
        "compare_type": True,
        "compare_server_default": True,
        **options,
    }
    config: Config = context.config
    given: Connection | Engine | None = config.attributes.get(CONNECTION)
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
    else:
        _run_on(context, given, options)


def _run_from_command_line(
    context: Any, otherwise: Callable[[], AbstractContextManager[HasEngine]], options: dict[str, Any]
) -> None:
    from alembic.util import CommandError
    from sqlalchemy import exc

    try:
        with otherwise() as source, engine_for_migrations(source) as engine:
            _run_on(context, engine, options)
    except DbkitError as error:
        if isinstance(error, RevisionFailedError) and not isinstance(error.__cause__, exc.DBAPIError):
            raise  # a revision's own fault: its traceback is of use
        raise CommandError(str(error)) from error  # Alembic prints the message of its own errors, and no traceback


def _run_on(context: Any, given: Connection | Engine, options: dict[str, Any]) -> None:
    from sqlalchemy import Engine

    if isinstance(given, Engine):
        with given.connect() as connection:
            _run_online(context, connection, options)
    else:
        _run_online(context, given, options)


def _run_online(context: Any, connection: Connection, options: dict[str, Any]) -> None:
    in_callers_transaction = connection.in_transaction()
    context.configure(connection=connection, **options)
    if context.get_context().opts.get("dont_mutate"):  # alembic current
        with context.begin_transaction():
            context.run_migrations()
        return
    asked = context.config.attributes.get(TIMEOUT_KEY)
    timeout = _seconds(context, "timeout", TIMEOUT) if asked is None else asked
    lock_timeout = _seconds(context, "lock_timeout", LOCK_TIMEOUT)
    online = Online(context, connection, options, timeout=timeout, lock_timeout=lock_timeout)
    if in_callers_transaction:
        online.run_in_callers_transaction()
    else:
        online.run()


def _seconds(context: Any, name: str, default: float) -> float:
    """Return the number of the command line's ``-x name=seconds``."""
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
    """Set up logging from the ini file, if the file has a section for it."""
    from configparser import RawConfigParser
    from logging.config import fileConfig

    parser = RawConfigParser()
    parser.read(ini, encoding="utf-8")
    if parser.has_section("loggers"):
        fileConfig(parser, disable_existing_loggers=False)
