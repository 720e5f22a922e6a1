"""Drill 10: PgBouncer in transaction mode between pool and server, restarted and drained under load; and migrated
through, after which no server session has anything left of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import make_url

from dbkit.embedded import EmbeddedPostgres

from ..bouncer import Bouncer, bouncer
from ..migrate.conftest import scripts as scripts
from . import closing
from .conftest import MakeDrill
from .entrants import Ours, OurSessions, make_manager, params_of
from .forms import by_form, program
from .load import Load

THREADS = 12
ROUNDS = by_form(short=2, long=10)
SERVER_SESSIONS = 4
LEFT_BEHIND = (
    "SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), current_setting('lock_timeout'), "
    "current_setting('statement_timeout'), current_setting('client_connection_check_interval', true)"
)


@pytest.fixture
def through(server: EmbeddedPostgres, database: str) -> Iterator[tuple[Bouncer, OurSessions]]:
    """Return a running PgBouncer with four server sessions, and our pool in front of it."""
    found = program("pgbouncer", needed_for="pgbouncer")
    with bouncer(found, make_url(database), settings={"default_pool_size": SERVER_SESSIONS}) as running:
        params = params_of(server, port=running.port, dbname=make_url(database).database)
        ours = OurSessions(make_manager(params, timeout=20))
        yield running, ours
        ours.close()


def what_is_left(running: Bouncer, ours: Ours) -> int:
    """How many of the server's sessions hold an advisory lock, or a setting that is not the server's."""
    name = make_url(str(ours.db.engine.url)).database
    login = {"host": "127.0.0.1", "port": running.port, "user": "anybody", "dbname": name}
    connections = [psycopg2.connect(**login) for _ in range(SERVER_SESSIONS)]  # each in a transaction, so all sessions
    left, sessions = 0, set()
    for connection in connections:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            sessions.add(cursor.fetchone())
            cursor.execute(LEFT_BEHIND)
            left += cursor.fetchone() != (0, "0", "0", "0")
    for connection in connections:
        connection.close()
    assert len(sessions) == SERVER_SESSIONS
    return left


def test_it_is_restarted(through: tuple[Bouncer, OurSessions], drill: MakeDrill):
    record = drill(10, "PgBouncer", f"restarted {ROUNDS} times under {THREADS} threads")
    running, ours = through
    load = Load(ours, THREADS)
    for _ in range(ROUNDS):
        load.goes_on()
        running.stop()
        running.start()
        load.goes_on()
    load.stop()
    ends = load.ends()
    cut_off = ends["statement"] + ends["commit"]
    record.row(ours.name, {"errors at borrow": ends["borrow"], "cut off in use": cut_off, "turns": ends["ok"]})
    record.must("errors at borrow", ends["borrow"], most=0)
    record.must("errors in all", cut_off, most=THREADS * ROUNDS)
    record.must("server sessions with something left", what_is_left(running, ours), most=0)
    closing.check(ours.pool, load=load)


def test_it_is_drained(through: tuple[Bouncer, OurSessions], drill: MakeDrill):
    record = drill(10, "PgBouncer", f"drained {ROUNDS} times: PAUSE, RECONNECT, RESUME; {THREADS} threads")
    running, ours = through
    load = Load(ours, THREADS)
    for _ in range(ROUNDS):
        load.goes_on()
        running.console("PAUSE")  # returns when every transaction is over
        running.console("RECONNECT")
        running.console("RESUME")
        load.goes_on()
    load.stop()
    record.row(ours.name, {"errors": len(load.failures()), "turns": load.ends()["ok"]})
    record.must("errors", len(load.failures()), most=0)
    record.must("server sessions with something left", what_is_left(running, ours), most=0)
    closing.check(ours.pool, load=load)


def test_migrations_go_through_it(through: tuple[Bouncer, OurSessions], drill: MakeDrill, scripts: Path):
    record = drill(10, "PgBouncer", f"{ROUNDS} upgrades and downgrades beside {THREADS} threads")
    running, ours = through
    load = Load(ours, THREADS)
    for _ in range(ROUNDS):
        ours.db.migrate(script_location=scripts)
        ours.db.downgrade("base", script_location=scripts)
    load.goes_on()
    load.stop()
    record.row(ours.name, {"errors": len(load.failures()), "turns": load.ends()["ok"]})
    record.must("errors", len(load.failures()), most=0)
    record.must("server sessions with something left", what_is_left(running, ours), most=0)
    closing.check(ours.pool, load=load)
