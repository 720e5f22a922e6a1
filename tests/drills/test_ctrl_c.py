"""Drill 17: Ctrl-C is heard at once, whatever the main thread is at; the server cancels, a migration rolls back."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..migrate.conftest import write_revision
from ..pool.helpers import Admin, eventually
from .conftest import MakeDrill
from .entrants import NAME
from .inside import OURS, RUNNING
from .pressing import BOUND
from .processes import figure, run
from .record import Drill
from .strange_servers import Mute

BUSY = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND state = 'active'"


def pressed(case: str, name: str, url: str, *more: str) -> float:
    """Seconds until the main thread was told."""
    return figure("told", run("tests.drills.pressing", case, name, url, *more, seconds=60))


def note(record: Drill, name: str, told: float) -> None:
    record.row(name, {"KeyboardInterrupt after, s": told if told < BOUND else f"over {BOUND:g}"})
    if name == OURS:
        record.aim("KeyboardInterrupt after, s", told, most=1.0)


@pytest.mark.parametrize("case", ["waiting", "query"])
def test_it_is_heard(shared_database: str, admin: Admin, drill: MakeDrill, case: str):
    record = drill(17, "Ctrl-C", {"waiting": "in line", "query": "in an 8 s query"}[case])
    for name in RUNNING:
        note(record, name, pressed(case, name, shared_database))
        if name == OURS:
            eventually(lambda: not admin.rows(BUSY, NAME))


def test_it_is_heard_while_connecting_into_a_hole(drill: MakeDrill):
    record = drill(17, "Ctrl-C", "connecting to a server that says nothing")
    with Mute() as mute:
        for name in RUNNING:
            note(record, name, pressed("hole", name, f"postgresql://u@127.0.0.1:{mute.port}/d"))


def test_it_is_heard_in_a_migration(database: str, admin: Admin, scripts: Path, tmp_path: Path, drill: MakeDrill):
    record = drill(17, "Ctrl-C", "in a migration")
    record.without("QueuePool, psycopg_pool", "they run no migrations")
    write_revision(scripts, "two", "one", "op.execute('SELECT pg_sleep(8)')")
    ini = tmp_path / "alembic.ini"
    ini.write_text("[alembic]\nscript_location = %(here)s/100%% scripts\n")
    note(record, OURS, pressed("migration", OURS, database, str(ini)))
    tables = "SELECT to_regclass('made') IS NULL AND NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')"
    beside = Admin(database)
    assert beside.rows(tables) == [(True,)]
    beside.close()
