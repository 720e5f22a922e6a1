"""Drill 18: many migrate at once; one fails; one is killed. The others go on soon, and each revision runs once."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from dbkit import DatabaseConnectionManager

from ..migrate.conftest import write_revision
from ..pool.helpers import Admin, eventually
from .closing import SESSIONS
from .conftest import MakeDrill
from .entrants import NAME
from .forms import by_form
from .inside import OURS
from .processes import PYTHON, figure, run

WORKERS = 8
WHY_ALONE = "they run no migrations; Alembic alone is beside ours"
ALEMBIC = "Alembic alone"

PLAIN = """
from alembic import context
from sqlalchemy import NullPool, create_engine

engine = create_engine({url!r}, poolclass=NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""

ONCE = """\
import os
try:
    os.close(os.open({flag!r}, os.O_CREAT | os.O_EXCL))
except FileExistsError:
    pass
else:
    {what}
"""
"""Done by the first process that comes here, and by no other."""

FIRST = {
    "all go well": "pass",
    "one fails": "raise RuntimeError('the first one fails')",
    "one is killed between two statements": "os.kill(os.getpid(), 9)",
}


@pytest.fixture
def ini(scripts: Path, tmp_path: Path) -> str:
    """Return the settings of Alembic for ``scripts``."""
    path = tmp_path / "alembic.ini"
    path.write_text("[alembic]\nscript_location = %(here)s/100%% scripts\n")
    return str(path)


def nothing_is_left(url: str) -> None:
    """The closing check, for pools that have ended with their processes."""
    admin = Admin(url)
    eventually(lambda: admin.rows(SESSIONS) == [(0,)])
    assert admin.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
    admin.close()


@pytest.mark.parametrize("case", FIRST)
def test_many_at_once(server: Any, database: str, scripts: Path, ini: str, tmp_path: Path, drill: MakeDrill, case: str):
    record = drill(18, "migrators", f"{WORKERS} upgrades at once, {case}")
    record.without("QueuePool, psycopg_pool", WHY_ALONE)
    write_revision(scripts, "two", "one", "op.execute('CREATE TABLE ran (revision text)')")
    envs = {OURS: ("dbkit", database)}
    if by_form(short=False, long=True):
        envs[ALEMBIC] = ("alembic", server.create_database(f"alone_{list(FIRST).index(case)}"))
    for name, (how, url) in envs.items():
        flag = ONCE.format(flag=str(tmp_path / f"done by {how}"), what=FIRST[case])
        upgrade = f"op.execute(\"INSERT INTO ran SELECT 'three' FROM pg_sleep(0.2)\")\n{flag}"
        write_revision(scripts, "three", "two", upgrade)
        if name == ALEMBIC:
            plain = url.replace("postgresql://", "postgresql+psycopg2://") + f"?application_name={NAME}"
            (scripts / "env.py").write_text(PLAIN.format(url=plain))
        began = time.monotonic()
        failed = int(figure("failed", run("tests.drills.migrating", how, url, ini, str(WORKERS), seconds=250)))
        took, beside = time.monotonic() - began, Admin(url)
        ran = beside.rows("SELECT count(*) FROM ran")[0][0] if beside.rows("SELECT to_regclass('ran')")[0][0] else 0
        beside.close()
        record.row(name, {"failed": failed, "times a revision ran": ran, "all done after, s": took})
        nothing_is_left(url)
    ours = record.rows[0].figures
    record.must("failed, beyond the one", float(ours["failed"]) - (case != "all go well"), most=0)
    assert ours["times a revision ran"] == 1


def test_one_is_killed_inside_a_long_statement(database: str, scripts: Path, ini: str, drill: MakeDrill):
    record = drill(18, "migrators", "one is killed inside a 15 s statement")
    record.without("QueuePool, psycopg_pool", WHY_ALONE)
    write_revision(scripts, "two", "one", "op.execute('SELECT pg_sleep(15)')")
    asleep = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(15)%' AND pid <> pg_backend_pid()"
    command = [*PYTHON, "-m", "alembic", "upgrade", "head"]
    environ = os.environ | {"DATABASE_URL": f"{database}?application_name={NAME}"}
    with DatabaseConnectionManager(database, min_size=0) as db:
        with subprocess.Popen(command, cwd=scripts.parent, env=environ, text=True, stderr=subprocess.PIPE) as process:
            eventually(lambda: db.execute_query(asleep).all() or process.poll() is not None)
            process.kill()
            killed = time.monotonic()
            process.communicate()
        (scripts / "versions" / "two.py").unlink()
        db.migrate(config=ini, timeout=60)
        took = time.monotonic() - killed
        assert db.stats().in_use == 0
    record.row(OURS, {"the next one is done after, s": took})
    record.aim("the next one is done after, s", took, most=3.0)
    nothing_is_left(database)
