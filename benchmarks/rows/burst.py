"""A hundred requests at once on two warm connections, where connecting takes long: who grows well?

A borrower is *stranded* when a connection lies free for ``NOTICED`` or longer while it waits: it sits in its own
connect, or nobody told it. It is counted from three kinds of events: opened, borrowed, given back.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from typing import Any

from benchmarks import contenders
from benchmarks.contenders import ELASTIC, PSYCOPG, QUEUE, Source
from benchmarks.crowd import statement
from benchmarks.figures import quantile
from benchmarks.measure import Bench, Case, Reading, Row
from benchmarks.results import Quantity, Target

KEPT, MOST, REQUESTS = 2, 10, 100
CONNECT = 0.05
"""Seconds added to every connect."""
NOTICED = CONNECT / 2
"""Seconds: less than that may be a connection that was handed over, to a thread for which there is no processor yet."""

Interval = tuple[float, float]
Work = Callable[[Any], None]


def stranded(waits: Sequence[Interval], free: Sequence[Interval], noticed: float = NOTICED) -> int:
    """How many waited, each for at least ``noticed``, while one and the same connection lay free."""
    return sum(
        any(min(end, free_end) - max(begin, free_begin) >= noticed for free_begin, free_end in free)
        for begin, end in waits
    )


def free_times(freed: Sequence[tuple[float, int]], borrowed: Sequence[tuple[float, int]]) -> list[Interval]:
    """When connections lay free: from each time one was opened or given back until it was next borrowed."""
    taken: dict[int, list[float]] = defaultdict(list)
    for when, number in sorted(borrowed):
        taken[number].append(when)
    return [
        (when, min((begin for begin in taken[number] if begin >= when), default=float("inf"))) for when, number in freed
    ]


def _burst(bench: Bench, name: str, work: Work) -> Reading:
    source = Source(bench.dsn, delay=CONNECT)
    contender = contenders.MAKERS[name](source, KEPT, MOST)
    warm = len(source.opened)
    gate = threading.Barrier(REQUESTS)
    waits: list[Interval] = []
    times: list[float] = []
    borrowed: list[tuple[float, int]] = []
    freed: list[tuple[float, int]] = []
    errors: list[BaseException] = []

    def request() -> None:
        try:
            gate.wait(contenders.TIMEOUT)
            began = perf_counter()
            connection = contender.borrow()
            got = perf_counter()
            number = contender.number(connection)
            borrowed.append((got, number))
            work(connection)
            freed.append((perf_counter(), number))
            contender.give_back(connection)
            times.append(perf_counter() - began)
            waits.append((began, got))
        except BaseException as error:  # noqa: BLE001 - told to the caller
            errors.append(error)
            gate.abort()

    threads = [threading.Thread(target=request, daemon=True) for _ in range(REQUESTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source.settle()  # what was begun counts, even if it is there only after the last request
    opened = list(source.opened)
    contender.close()
    if errors:
        raise errors[0]
    numbers = {
        "median": quantile(times, 0.5),
        "95th percentile": quantile(times, 0.95),
        "slowest": max(times),
        "stranded": stranded(waits, free_times([*opened, *freed], borrowed)),
        "connects": len(opened) - warm,
    }
    return Reading(numbers)


@contextmanager
def _cases(bench: Bench, work: Work) -> Iterator[Mapping[str, Case]]:
    yield {name: _case(bench, name, work) for name in (ELASTIC, QUEUE, PSYCOPG)}


def _case(bench: Bench, name: str, work: Work) -> Case:
    return lambda _share: _burst(bench, name, work)


def _row(name: str, work_title: str, work: Work) -> Row:
    def cases(bench: Bench) -> AbstractContextManager[Mapping[str, Case]]:
        return _cases(bench, work)

    return Row(
        name=name,
        title=f"100 requests at once on 2 warm connections, 50 ms per connect, 10 at most; {work_title}",
        notes=(
            "A new pool each round. Stranded: borrowers who waited while one and the same connection lay free for\n"
            "25 ms or more, half the time of a connect: in their own connect, for example."
        ),
        quantities=(
            Quantity("median", "seconds"),
            Quantity("95th percentile", "seconds"),
            Quantity("slowest", "seconds"),
            Quantity("stranded", "count", worst=True),
            Quantity("connects", "count"),
        ),
        targets=(
            Target(quantity="median", of=ELASTIC, to=QUEUE, at_most=1.0),
            Target(quantity="95th percentile", of=ELASTIC, to=QUEUE, at_most=1.0),
            Target(quantity="stranded", of=ELASTIC, at_most=0.0),
        ),
        rounds=(3, 1),
        seconds=(30, 5),
        warm_up="never",
        cases=cases,
    )


ROWS = (
    _row("burst", "SELECT 1", statement("SELECT 1")),
    _row("burst-server-time", "2 ms of server time", statement("SELECT pg_sleep(0.002)")),
)
