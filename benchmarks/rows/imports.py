"""What importing from dbkit costs a program that imports SQLAlchemy and psycopg2 anyway. In fresh interpreters.

``import dbkit`` by itself loads nothing, so it is not what is measured.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.measure import Bench, Case, Reading, Row
from benchmarks.results import Quantity, Target

THEIRS = "import sqlalchemy, psycopg2"
OURS = f"{THEIRS}; from dbkit import DatabaseConnectionManager"
POOL = f"{THEIRS}; from dbkit import ElasticPool"


def _import_time(statement: str) -> float:
    """Run one import in an interpreter of its own, which times it; starting the interpreter does not count."""
    program = f"from time import perf_counter as now\nbegan = now()\n{statement}\nprint(now() - began)"
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    return float(answer.stdout)


def _case(statement: str) -> Case:
    def read(_share: float) -> Reading:
        return Reading({"time": _import_time(statement)})

    return read


@contextmanager
def _cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
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
