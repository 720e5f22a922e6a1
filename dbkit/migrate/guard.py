"""Runs a project's ``env.py``, and refuses one that would migrate another database than it was asked to.

The ``env.py`` that ``alembic init`` writes connects by itself to whatever ``alembic.ini`` names. So ``configure``,
through which every ``env.py`` tells Alembic its connection, is checked first: nothing has been run at that moment, on
either database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from dbkit.errors import DbkitError, MigrationError
from dbkit.migrate.logs import ProgramsLogging

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import Engine

    from dbkit.migrate.plan import Step, Work

LINES: Final = """\
    from dbkit import DatabaseConnectionManager
    from dbkit.migrate import run_migrations

    run_migrations(context, target_metadata, otherwise=DatabaseConnectionManager)"""
"""The end of an ``env.py``, for programs and for the command line."""

_ADVICE: Final = (
    "In env.py, replace everything after `target_metadata = ...` by\n\n"
    f"{LINES}\n\n"
    'or pass config.attributes["connection"], where it is set, to context.configure(connection=...).'
)


def run_env(
    config: Config,
    script: ScriptDirectory,
    engine: Engine,
    work: Work,
    *,
    configured: Callable[[MigrationContext], None],
    **options: Any,
) -> None:
    """Run ``env.py`` for ``work``, on a connection of ``engine`` and on no other. The program's logging stays as it is.

    Args:
        config: has the connection in its attributes.
        script: the folder with ``env.py``.
        engine: whose connections are accepted.
        work: gives the steps to run.
        configured: is told how ``env.py`` configured Alembic, before anything runs.
        options: for Alembic's ``EnvironmentContext``.

    Raises:
        MigrationError: ``env.py`` connects to another database, fails before it uses the given connection, or ends
            without having run anything.
    """
    from alembic.runtime.environment import EnvironmentContext
    from alembic.util import CommandError

    accepted = ran = False
    logs = ProgramsLogging()

    def note(heads: Any, context: MigrationContext) -> Iterable[Step]:
        nonlocal ran
        ran = True
        return work(heads, context)

    def accept(context: MigrationContext) -> None:
        nonlocal accepted
        accepted = True
        logs.put_back()  # before the migration: it has things to tell
        configured(context)

    with EnvironmentContext(config, script, fn=note, **options) as environment:
        _guard(environment, engine, accept)
        try:
            script.run_env()
        except (CommandError, DbkitError):
            raise
        except Exception as error:
            if accepted:
                raise
            raise MigrationError(
                f"{script.env_py_location} failed with {type(error).__name__} (the cause of this error) before it used "
                f"the connection that it was given. If it connects by itself: {_ADVICE}"
            ) from error
        finally:
            logs.put_back()
    if not ran:
        raise MigrationError(
            f"{script.env_py_location} ended without a call of context.run_migrations(), so nothing was done. {_ADVICE}"
        )


def _guard(environment: EnvironmentContext, engine: Engine, accept: Callable[[MigrationContext], None]) -> None:
    """Check the connection of each ``configure``; ``alembic.context.configure`` calls this object's."""
    configure = environment.configure

    def checked(connection: Connection | None = None, *args: Any, **options: Any) -> None:
        if not isinstance(connection, Connection) or connection.engine.pool is not engine.pool:
            raise MigrationError(
                f"{environment.script.env_py_location} would migrate {_target(connection)}, not the database that it "
                f"was asked to migrate. It was stopped before it ran anything there. {_ADVICE}"
            )
        configure(connection, *args, **options)
        accept(environment.get_context())

    environment.configure = checked  # type: ignore[method-assign]


def _target(connection: object) -> str:
    """Name the database of a connection that ``env.py`` made, without its secrets."""
    if not isinstance(connection, Connection):
        return "no connection at all"
    url = connection.engine.url
    port = f":{url.port}" if url.port else ""
    return f"{url.database or 'a database'} on {url.host or 'the default host'}{port} over a connection of its own"
