"""Gathers the facts, outside in: settings, doors, login, server, pooler, migrations. Every step is bounded in time.

A step that fails leaves its facts unknown, with the reason; the next one is tried where it may still tell something.
"""

from __future__ import annotations

import os
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from sys import stderr
from time import monotonic
from typing import TYPE_CHECKING, Final

from sqlalchemy import exc

from dbkit.cli.check.facts import Facts, Fleet, Login, Migrations, Pooler, Server, SettingsFacts
from dbkit.cli.check.network import hosts_of, knock_at
from dbkit.cli.check.server import ask, ask_pooler, time_round_trips
from dbkit.cli.check.within import NoAnswerError, within
from dbkit.errors import DbkitError
from dbkit.manager import DatabaseConnectionManager
from dbkit.pool.errors import PoolTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbkit.settings import DatabaseSettings

ROUND_TRIPS: Final = 200
"""Round trips that are measured, in a quarter of the time at most."""

_FOR_MIGRATIONS: Final = 30.0
"""Seconds for ``env.py``, which imports the application."""


def gather(
    settings: DatabaseSettings,
    fleet: Fleet,
    *,
    seconds: float,
    alembic_ini: str | None,
    progress: Callable[[str], None],
) -> Facts:
    """Find out all there is to know.

    Args:
        settings: who connects to what.
        fleet: how many pools there are.
        seconds: for each step.
        alembic_ini: of the migrations; None for the one in the working folder, if there is one.
        progress: is told what is being done.
    """
    facts = Facts(settings=_of(settings), fleet=fleet, now=datetime.now(UTC))
    progress("knocking at the server's door")
    tls, direct = facts.settings.sslmode != "disable", settings.options.get("sslnegotiation") == "direct"
    doors = hosts_of(settings, os.environ)
    facts = replace(facts, hosts=tuple(knock_at(*door, seconds, tls=tls, direct=direct) for door in doors))
    progress("logging in")
    # fresh, so that what is seen is this login's; two, to tell a pooler by
    one = settings.replace(min_size=0, max_size=2, timeout=seconds, keepalive=None)
    db = DatabaseConnectionManager(one)
    try:
        return _through(db, facts, seconds, alembic_ini, progress)
    finally:
        db.close_connections(timeout=0)


def _through(
    db: DatabaseConnectionManager,
    facts: Facts,
    seconds: float,
    alembic_ini: str | None,
    progress: Callable[[str], None],
) -> Facts:
    facts = replace(facts, login=_log_in(db, seconds))
    if facts.login is None or facts.login.error is not None:
        return facts

    def look() -> tuple[Server, Pooler, Sequence[float]]:
        with db.engine.connect() as connection:
            pooler = ask_pooler(db.engine, connection)
            server = ask(connection)
        with db.engine.connect() as connection:
            return server, pooler, time_round_trips(connection, count=ROUND_TRIPS, seconds=seconds / 4)

    progress("asking the server")
    try:
        server, pooler, times = within(2 * seconds, look)
        facts = replace(facts, server=server, pooler=pooler, round_trips=times)
    except (NoAnswerError, exc.SQLAlchemyError, DbkitError) as error:
        facts = replace(facts, server_error=text_of(error))
    progress("reading the migrations")
    return replace(facts, migrations=_migrations(db, alembic_ini))


def _of(settings: DatabaseSettings) -> SettingsFacts:
    options = settings.options

    def word(name: str) -> str | None:
        return str(options[name]) if options.get(name) is not None else None

    return SettingsFacts(
        target=settings.target,
        rows=settings.rows(),
        remarks=settings.remarks,
        policy=settings.policy,
        sslmode=word("sslmode") or os.environ.get("PGSSLMODE") or None,
        target_session_attrs=word("target_session_attrs") or os.environ.get("PGTARGETSESSIONATTRS") or None,
        network_timeout=settings.network_timeout,
        service=word("service") or os.environ.get("PGSERVICE") or None,
    )


def _log_in(db: DatabaseConnectionManager, seconds: float) -> Login:
    began = monotonic()
    try:
        within(seconds + 1, lambda: db.engine.connect().close())
    except (NoAnswerError, PoolTimeoutError) as error:
        cause = error.__cause__
        reason = text_of(cause) if cause is not None else f"no answer within {seconds:g} s"
        return Login(seconds=monotonic() - began, error=reason, timed_out=cause is None)
    except (exc.SQLAlchemyError, DbkitError, OSError) as error:
        return Login(seconds=monotonic() - began, error=text_of(error))
    return Login(seconds=monotonic() - began)


def _migrations(db: DatabaseConnectionManager, alembic_ini: str | None) -> Migrations:
    path = Path(alembic_ini or "alembic.ini")
    if not path.is_file():
        error = None if alembic_ini is None else f"there is no {path}"
        return Migrations(config=alembic_ini, error=error)
    from dbkit import migrate  # Alembic is slow to import

    def look() -> Migrations:
        with redirect_stdout(stderr):  # env.py may print, and the report may be JSON
            revisions = migrate.history(db, config=path)
        waiting = [revision for revision in reversed(revisions) if not revision.applied]
        names = tuple(f"{each.revision} ({each.message})" if each.message else each.revision for each in waiting)
        return Migrations(config=str(path), applied=len(revisions) - len(waiting), pending=names)

    try:
        return within(_FOR_MIGRATIONS, look)
    except Exception as error:  # noqa: BLE001 - env.py is the user's own, and raises what it likes
        return Migrations(config=str(path), error=text_of(error))


def text_of(error: BaseException) -> str:
    """The words of an error, without the parts that repeat what the report shows anyway."""
    inner = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    lines = [line.rstrip() for line in str(inner).splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith(("\tdbkit tried", "(Background on")))
