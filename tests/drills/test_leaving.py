"""Drill 14: a program ends while its pool is busy; an engine is dropped while one of its connections is used."""

from __future__ import annotations

import subprocess
from time import monotonic

from ..pool.helpers import Admin, eventually
from .conftest import MakeDrill
from .entrants import NAME
from .inside import OURS, RUNNING
from .processes import PYTHON, ROOT, figure, run, undisturbed


def test_the_program_ends(shared_database: str, admin: Admin, drill: MakeDrill):
    record = drill(14, "exit", "8 connections in statements, 4 borrowers in line, upkeep")
    for name in RUNNING:
        done = subprocess.run(
            [*PYTHON, "-m", "tests.drills.leaving", "at_exit", name, shared_database],
            cwd=ROOT, env=undisturbed(), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        took, lines = monotonic() - figure("left", done.stdout), len(done.stderr.splitlines())
        record.row(name, {"exit, s": took, "lines on stderr": lines, "exit code": done.returncode})
        if name == OURS:
            record.aim("exit, s", took, most=1.0)
            record.must("lines on stderr", lines, most=0)
            record.must("exit code", done.returncode, most=0)
        for pid in admin.pids(NAME):  # the server notices only when their statements end
            admin.rows("SELECT pg_terminate_backend(%s)", pid)
        eventually(lambda: not admin.pids(NAME))


def test_the_pool_is_dropped(shared_database: str, drill: MakeDrill):
    record = drill(14, "exit", "the process's second engine is dropped while a connection is in use")
    for name in RUNNING:
        said = run("tests.drills.leaving", "dropped", name, shared_database, seconds=120)
        seen = {f"{what} left": int(figure(what, said)) for what in ("sessions", "threads", "pools")}
        record.row(name, seen)
        if name == OURS:
            for what, count in seen.items():
                record.must(what, count, most=0)
