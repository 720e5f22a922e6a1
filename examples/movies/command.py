"""The command: a server, its tables, their movies, many threads - and a proof that the pool leaked nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import monotonic

from alembic.migration import MigrationContext
from alembic.util import CommandError
from dotenv import dotenv_values
from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from dbkit import DatabaseConnectionManager
from dbkit.embedded import EmbeddedPostgres
from dbkit.errors import DbkitError
from dbkit.settings import DatabaseSettings
from examples.movies import report, workload
from examples.movies.arguments import parse
from examples.movies.intake import Intake, MissingExtraError, take_in
from examples.movies.interrupt import CtrlC
from examples.movies.loading import BadFileError, load_movies
from examples.movies.models import Base
from examples.movies.proof import ServerSide
from examples.movies.screen import Screen

OK, FAILED, BAD_INPUT = 0, 1, 2


class ForeignTablesError(Exception):
    """The database has tables of the shop's names that are not the shop's."""


_EXPECTED = (
    DbkitError,
    SQLAlchemyError,
    CommandError,
    OSError,
    MissingExtraError,
    ForeignTablesError,
    workload.EmptyShopError,
)
"""What may go wrong without the program being wrong: told in a line, not in a traceback."""


def run(arguments: Sequence[str]) -> int:
    """Run the command. Returns the exit code: 0 all proven, 1 something failed, 2 bad arguments or a bad file.

    Raises:
        KeyboardInterrupt: Ctrl-C; threads, connections and server have been cleared up.
    """
    options = parse(arguments)
    screen = Screen(sys.stdout)
    try:
        intake = take_in(options)  # before anything is started
        screen.say(intake.origin)
        with ExitStack() as stack:
            settings = choose_server(options, stack, screen.say)
            return demonstrate(options, intake, settings, screen)
    except BadFileError as error:
        return _fail(screen, f"{error}. Nothing was loaded.", BAD_INPUT)
    except BrokenPipeError:
        raise
    except _EXPECTED as error:
        return _fail(screen, str(error), FAILED)
    finally:
        screen.end_progress()


def choose_server(options: argparse.Namespace, stack: ExitStack, say: Callable[[str], None]) -> DatabaseSettings:
    """The configured server, or an embedded one if none is configured; that one ends with ``stack``."""
    numbers = {"min_size": options.min_size, "max_size": options.max_size}
    numbers = {name: number for name, number in numbers.items() if number is not None}
    name = f"dbkit-movies-{os.getpid()}"  # for the server's list of connections
    configured = {**dotenv_values(".env"), **os.environ}
    if any(value and (key.startswith("DB_") or key == "DATABASE_URL") for key, value in configured.items()):
        settings = DatabaseSettings.load(application_name=name, **numbers)
        say(f"Using the configured PostgreSQL: {settings.target}")
        return settings
    say("No DB_* set: starting an embedded PostgreSQL ...")
    began = monotonic()
    max_connections = max(100, (options.max_size or 0) + 20)
    server = stack.enter_context(EmbeddedPostgres.start(settings={"max_connections": max_connections}))
    say(
        f"  PostgreSQL {server.version} on {server.host}:{server.port}, in {monotonic() - began:.1f} s; gone at the end"
    )
    return DatabaseSettings.load(server.url(), environ={}, env_file=None, application_name=name, **numbers)


def open_database(settings: DatabaseSettings) -> DatabaseConnectionManager:
    """The manager all repositories share. Objects outlive their sessions in this application."""
    db = DatabaseConnectionManager(settings)
    db.sessions.configure(expire_on_commit=False)
    return db


def demonstrate(options: argparse.Namespace, intake: Intake, settings: DatabaseSettings, screen: Screen) -> int:
    """Migrate, load, work, and prove; return the exit code."""
    if options.on_loop:
        from examples.movies import on_loop

        return on_loop.demonstrate(options, intake, settings, screen, prove, prepare)
    with ExitStack() as stack:
        server_side = stack.enter_context(ServerSide(settings))
        db = stack.enter_context(open_database(settings))
        migrate(db, screen.say)
        ctrl_c = stack.enter_context(CtrlC())
        load(db, intake, screen, ctrl_c)
        report.show_notes(intake.notes, options.report, screen.say)
        most = settings.policy.max_size

        def on_sample(elapsed: float) -> None:
            server_side.observe(most)
            screen.progress(min(elapsed / options.seconds, 1), f"{elapsed:.1f} of {options.seconds:g} s")
            ctrl_c.check()

        screen.say()
        screen.say(f"{options.threads} threads, three repositories, one pool ({settings.policy.min_size} to {most})")
        outcome = workload.run(db, threads=options.threads, seconds=options.seconds, on_sample=on_sample)
        screen.progress(1, f"{outcome.seconds:.1f} s")
        report.show_outcome(outcome, max_size=most, screen=screen)
        return prove(db, server_side, outcome, most, screen.say)


def prepare(settings: DatabaseSettings, intake: Intake, screen: Screen, ctrl_c: CtrlC) -> None:
    """Migrate and load, with a manager that is closed afterwards."""
    with open_database(settings) as db:
        migrate(db, screen.say)
        load(db, intake, screen, ctrl_c)


def migrate(db: DatabaseConnectionManager, say: Callable[[str], None]) -> None:
    """Bring the tables to the newest revision.

    Raises:
        ForeignTablesError: there are tables of these names that no migration made. Nothing was changed.
    """
    before = _revision(db)
    strangers = sorted(set(Base.metadata.tables) & set(inspect(db.engine).get_table_names()))
    if before is None and strangers:
        raise ForeignTablesError(
            f"this database has tables of its own called {', '.join(strangers)}. Nothing was changed; "
            "give the example a database of its own (DB_NAME)."
        )
    db.migrate("head")
    after = _revision(db)
    say(f"Migrations: at {after} already" if before == after else f"Migrations: {before or 'nothing'} -> {after}")


def _revision(db: DatabaseConnectionManager) -> str | None:
    with db.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def load(db: DatabaseConnectionManager, intake: Intake, screen: Screen, ctrl_c: CtrlC) -> None:
    """Load the movies, with a progress bar. What an interrupted load leaves behind, the next one completes."""
    began = monotonic()

    def on_progress(done: int, new: int) -> None:
        rate = done / (monotonic() - began)
        screen.progress(done / intake.total, f"{done:,} of {intake.total:,}, {rate:,.0f} rows/s")
        ctrl_c.check()

    screen.say(f"Loading {intake.total:,} movies")
    new = load_movies(db, intake.rows, on_progress=on_progress)
    screen.say(f"  {intake.total:,} of {intake.records:,} arrived in {monotonic() - began:.1f} s; {new:,} were new")
    if new:
        db.execute_query("VACUUM (ANALYZE) movies")  # the planner knows them, and the search index is tidy


def prove(
    db: DatabaseConnectionManager,
    server_side: ServerSide,
    outcome: workload.Outcome,
    max_size: int,
    say: Callable[[str], None],
    *,
    patience: float = 5.0,
) -> int:
    """Show that every connection came back and that the server never saw too many; return the exit code.

    Closes the manager. Whatever takes its time has ``patience`` seconds.
    """
    stats = db.stats()
    during, now = server_side.most, server_side.settle(max_size, timeout=patience)
    db.close_connections(timeout=patience)
    closed = server_side.settle(0, timeout=patience)
    failures = outcome.errors.total()
    proofs = {
        f"the pool: in_use={stats.in_use}, waiting={stats.waiting}": stats.in_use == stats.waiting == 0,
        f"the server: {during} connections at most, {now} after the work; the maximum is {max_size}": (
            0 < during <= max_size and now <= max_size
        ),
        f"the server, after close_connections(): {closed}": closed == 0,
        f"the threads: {failures} errors": failures == 0,
    }
    say("")
    say("Did anything leak?")
    for proof, holds in proofs.items():
        say(f"  {'ok  ' if holds else 'FAIL'}  {proof}")
    return OK if all(proofs.values()) else FAILED


def _fail(screen: Screen, message: str, exit_code: int) -> int:
    screen.end_progress()
    print(f"error: {message}", file=sys.stderr)
    return exit_code
