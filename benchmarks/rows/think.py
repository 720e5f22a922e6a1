"""The crowd with time to think: each thread pauses between two borrows. Starvation is a matter of that pause.

The row ``crowd`` is the one without any pause.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from benchmarks.contenders import ELASTIC, PSYCOPG, QUEUE
from benchmarks.crowd import QUANTITIES, crowd_cases, statement
from benchmarks.measure import Bench, Row
from benchmarks.results import Target
from benchmarks.rows.crowds import CONNECTIONS

THREADS = 64
SECONDS = (1.5, 0.5)
PAUSES = {"think-yield": 0.0, "think-1ms": 0.001, "think-5ms": 0.005, "think-20ms": 0.020}
"""Seconds between two borrows, by row. ``sleep(0)`` takes no time, but lets others run."""


def said(pause: float) -> str:
    """A pause, as the tables name it."""
    return f"{pause * 1000:g} ms" if pause else "sleep(0)"


def _row(name: str, pause: float) -> Row:
    think: Callable[[], None] = partial(time.sleep, pause)

    def cases(bench: Bench) -> AbstractContextManager[Any]:
        return crowd_cases(
            bench,
            names=(ELASTIC, QUEUE, PSYCOPG),
            threads=THREADS,
            connections=CONNECTIONS,
            work=statement("SELECT 1"),
            seconds=bench.pick(*SECONDS),
            think=think,
        )

    return Row(
        name=name,
        title=f"{THREADS} threads on {CONNECTIONS} connections, SELECT 1, {said(pause)} between two borrows",
        notes=f"Each pool works for {SECONDS[0]:g} s a run ({SECONDS[1]:g} s in a quick one).",
        quantities=QUANTITIES,
        targets=(
            Target(quantity="longest wait", of=ELASTIC, to=QUEUE, at_most=1.0),
            Target(quantity="throughput", of=ELASTIC, to=QUEUE, at_least=1.0, aim=True),
            Target(quantity="fairness", of=ELASTIC, at_least=0.9),
        ),
        rounds=(1, 1),
        seconds=(28, 4),
        cases=cases,
    )


ROWS = tuple(_row(name, pause) for name, pause in PAUSES.items())
