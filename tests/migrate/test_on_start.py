"""A deployment's processes all migrate when they start: each revision runs once, and all of them go on."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from .conftest import write_revision

WORKERS = 8

APPLICATION = """
    import os, sys
    from alembic import command  # imported once, before the workers are forked, so that they really start together
    from sqlalchemy import text
    from dbkit import DatabaseConnectionManager
    import dbkit.migrate

    url, scripts, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    started, start = os.pipe()
    children = []
    for _ in range(workers):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(start)
                os.read(started, 1)  # the end of the pipe: all workers are there
                with DatabaseConnectionManager(url, min_size=0, max_size=2) as db:
                    db.migrate(script_location=scripts, timeout=200)
                    db.execute_query("INSERT INTO served VALUES (pg_backend_pid())")
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    os.close(start)
    sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def test_eight_processes_that_start_together(db, database: str, scripts: Path) -> None:
    write_revision(scripts, "two", "one", "op.execute('CREATE TABLE ran (revision text)')")
    write_revision(scripts, "three", "two", "op.execute(\"INSERT INTO ran SELECT 'three' FROM pg_sleep(0.3)\")")
    write_revision(scripts, "four", "three", "op.execute('CREATE TABLE served (pid int)')")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(APPLICATION), database, scripts, str(WORKERS)],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert db.execute_query("SELECT revision FROM ran").scalars() == ("three",)
    assert db.execute_query("SELECT count(*) FROM served").scalar() == WORKERS
    assert db.execute_query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").scalar() == 0
