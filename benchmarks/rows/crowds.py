"""More threads than connections: how much gets done, how long anybody waits, and whether all get their share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from benchmarks.contenders import DBUTILS, ELASTIC, PSYCOPG, QUEUE, QUEUE_PING
from benchmarks.crowd import QUANTITIES, crowd_cases, nothing, statement
from benchmarks.measure import Bench, Row
from benchmarks.results import Target

CONNECTIONS = 8
SERVER_TIME = "SELECT pg_sleep(0.002)"
RUN_NOTE = (
    "No time between two borrows. Each pool works for {full:g} s a run ({quick:g} s in a quick one); where some\n"
    "threads never get a turn, they wait all that time, so the ratio of the longest waits grows with its length."
)


def _row(
    name: str,
    title: str,
    *,
    threads: int,
    work: Callable[[Any], None],
    pools: tuple[str, ...],
    seconds: tuple[float, float],
    limits: tuple[float, float],
    targets: tuple[Target, ...],
) -> Row:
    def cases(bench: Bench) -> AbstractContextManager[Any]:
        return crowd_cases(
            bench,
            names=pools,
            threads=threads,
            connections=CONNECTIONS,
            work=work,
            seconds=seconds[1] if bench.quick else seconds[0],
        )

    return Row(
        name=name,
        title=title,
        notes=RUN_NOTE.format(full=seconds[0], quick=seconds[1]),
        quantities=QUANTITIES,
        targets=targets,
        rounds=(1, 1),
        seconds=limits,
        cases=cases,
    )


def _targets(throughput: float, longest_wait: float) -> tuple[Target, ...]:
    return (
        Target(quantity="throughput", of=ELASTIC, to=QUEUE, at_least=throughput),
        Target(quantity="longest wait", of=ELASTIC, to=QUEUE, at_most=longest_wait),
    )


ROWS = (
    _row(
        "crowd",
        "64 threads on 8 connections, SELECT 1",
        threads=64,
        work=statement("SELECT 1"),
        pools=(ELASTIC, QUEUE, QUEUE_PING, PSYCOPG, DBUTILS),
        seconds=(2.5, 0.5),
        limits=(75, 8),
        targets=(*_targets(1.1, 1 / 40), Target(quantity="fairness", of=ELASTIC, at_least=0.9)),
    ),
    _row(
        "server-time",
        "64 threads on 8 connections, 2 ms of server time",
        threads=64,
        work=statement(SERVER_TIME),
        pools=(ELASTIC, QUEUE, PSYCOPG),
        seconds=(2.0, 0.5),
        limits=(36, 5),
        targets=_targets(1.0, 1 / 20),
    ),
    _row(
        "small-crowd",
        "16 threads on 8 connections, SELECT 1",
        threads=16,
        work=statement("SELECT 1"),
        pools=(ELASTIC, QUEUE, PSYCOPG),
        seconds=(2.0, 0.5),
        limits=(36, 5),
        targets=_targets(1.0, 1 / 20),
    ),
    _row(
        "no-work",
        "64 threads on 8 connections, no work at all",
        threads=64,
        work=nothing,
        pools=(ELASTIC, QUEUE, PSYCOPG),
        seconds=(2.0, 0.5),
        limits=(36, 5),
        targets=_targets(1.0, 1 / 20),
    ),
)
