"""Does a checkout cost more when the pool is larger, or the line longer? It should not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any, cast

import psycopg2
from sqlalchemy import create_engine

from benchmarks import contenders
from benchmarks.contenders import Source
from benchmarks.measure import Bench, Case, Row, time_per_call
from benchmarks.results import Quantity, Target
from dbkit.pool.elastic import ElasticPool
from dbkit.runtime.threads import ThreadWaiter

SIZES = (1, 10, 60)
LINES = (10, 1_000, 10_000)
FLAT = 1.10


def _idle(count: int) -> str:
    return f"{count} idle"


def _waiting(count: int) -> str:
    return f"{count:,} waiting"


@contextmanager
def _idle_cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
    with ExitStack() as stack:
        cases: dict[str, Case] = {}
        for size in SIZES:
            contender = contenders.elastic(Source(bench.dsn), size, size)
            stack.callback(contender.close)
            cases[_idle(size)] = time_per_call(contender.cycle)
        yield cases


class _Line:
    """One connection, always out, and a line that never gets shorter.

    A cycle is what the pool does for one checkout under load: the connection comes back, the waiter in front is handed
    it and woken, and a new one joins at the end. All of it is the pool's own code, but for the threads: their bells
    ring, and nobody sleeps on them. Ten thousand sleeping threads would measure the operating system.
    """

    def __init__(self, dsn: str, length: int) -> None:
        engine = create_engine(
            "postgresql+psycopg2://",
            creator=lambda: psycopg2.connect(dsn),
            poolclass=ElasticPool,
            min_size=0,
            max_size=1,
            fair_after=0.0,
        )
        self._pool = cast("Any", engine.pool)
        self._ledger = self._pool._ledger
        self._held = self._pool.connect()
        self._slot = self._held._connection_record
        self._waiters: deque[ThreadWaiter] = deque()
        for _ in range(length):
            self._join()

    def _join(self) -> None:
        waiter = ThreadWaiter(monotonic(), 0, None)
        self._ledger.join(waiter, waiter.since)  # without the lock: there is no other thread
        self._waiters.append(waiter)

    def cycle(self, count: int) -> None:
        give_back, slot, join, waiters = self._pool._do_return_conn, self._slot, self._join, self._waiters
        for _ in range(count):
            front = waiters.popleft()
            give_back(slot)
            if front.slot is not slot:
                raise RuntimeError("the connection did not go to the waiter in front: this measures something else")
            join()

    def close(self) -> None:
        for waiter in self._waiters:
            self._ledger.leave(waiter, monotonic())
        self._held.close()
        self._pool.dispose()


@contextmanager
def _line_cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
    with ExitStack() as stack:
        cases: dict[str, Case] = {}
        for length in LINES:
            line = _Line(bench.dsn, length)
            stack.callback(line.close)
            cases[_waiting(length)] = time_per_call(line.cycle)
        yield cases


def _flat(names: tuple[str, ...]) -> tuple[Target, ...]:
    return tuple(Target(quantity="time", of=name, to=names[0], at_most=FLAT) for name in names[1:])


ROWS = (
    Row(
        name="size",
        title="checkout and return with 1, 10, 60 idle connections",
        notes="",
        quantities=(Quantity("time", "seconds"),),
        targets=_flat(tuple(map(_idle, SIZES))),
        rounds=(40, 10),
        seconds=(15, 4),
        cases=_idle_cases,
    ),
    Row(
        name="line",
        title="a return, its hand-off and a newcomer, with 10, 1,000, 10,000 waiters in line",
        notes="The pool's own code, without the threads: ten thousand of those would measure the system's scheduler.",
        quantities=(Quantity("time", "seconds"),),
        targets=_flat(tuple(map(_waiting, LINES))),
        rounds=(40, 10),
        seconds=(15, 4),
        cases=_line_cases,
    ),
)
