"""What importing from dbkit costs a program that imports SQLAlchemy and psycopg2 anyway. In fresh interpreters.

``import dbkit`` by itself loads nothing, so it is not what is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from benchmarks.measure import Bench, Case, Reading, Row
from benchmarks.results import Quantity, Target

THEIRS = "import sqlalchemy, psycopg2"
OURS = f"{THEIRS}; from dbkit import DatabaseConnectionManager"
POOL = f"{THEIRS}; from dbkit import ElasticPool"


def _import_time(statement: str) -> float:
    """Run one import in an interpreter of its own, which times it; starting the interpreter does not count."""
    program = f"from time import perf_counter as now\nbegan = now()\n{statement}\nprint(now() - began)"
    # pip compiled the others' files when it installed them; ours must be allowed to be, too
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = partial(subprocess.run, check=True, capture_output=True, text=True, timeout=60, env=environment)
    return float(run([sys.executable, "-c", program]).stdout)


def _case(statement: str) -> Case:
    def read(_share: float) -> Reading:
        return Reading({"time": _import_time(statement)})

    return read


@contextmanager
def _cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
    for statement in (OURS, POOL, THEIRS):
        _import_time(statement)
    yield {statement: _case(statement) for statement in (OURS, POOL, THEIRS)}


ROW = Row(
    name="imports",
    title="importing, in a fresh interpreter",
    notes="Starting the interpreter does not count; it had all files in memory and compiled.",
    quantities=(Quantity("time", "seconds"),),
    targets=(
        Target(quantity="time", of=OURS, to=THEIRS, at_most=1.15),
        Target(quantity="time", of=POOL, to=THEIRS, at_most=1.15),
    ),
    rounds=(7, 1),
    seconds=(30, 8),
    cases=_cases,
)
