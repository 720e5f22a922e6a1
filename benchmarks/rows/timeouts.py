"""A crowd in line for nothing: how late do borrowers learn that their time is up, when it is up for all at once?"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

from benchmarks import contenders
from benchmarks.contenders import ELASTIC, PSYCOPG, QUEUE, Source
from benchmarks.figures import median
from benchmarks.measure import Bench, Case, Reading, Row
from benchmarks.results import Quantity, Target

BORROWERS = (800, 200)
TIMEOUT = 2.0
"""Seconds: long enough for all to stand in line before the first one's time is up."""


def told_late(contender: contenders.Contender, borrowers: int, timeout: float) -> list[float]:
    """How late each of these borrowers was told, in seconds, after ``timeout`` since it asked.

    Raises:
        RuntimeError: somebody was served: then the others waited for less.
    """
    late: list[float] = []
    served: list[object] = []
    gate = threading.Barrier(borrowers)

    def ask() -> None:
        gate.wait(contenders.TIMEOUT)
        began = perf_counter()
        try:
            served.append(contender.borrow())
        except Exception:  # noqa: BLE001 - each pool has an error of its own; the next line says whether it was that
            late.append(perf_counter() - began - timeout)

    crowd = [threading.Thread(target=ask, daemon=True) for _ in range(borrowers)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    if served or min(late) < -timeout / 2:
        raise RuntimeError("a borrower was served, or refused before its time: this measures something else")
    return late


def _read(bench: Bench, name: str) -> Reading:
    contender = contenders.MAKERS[name](Source(bench.dsn), 1, 1, TIMEOUT)
    held = contender.borrow()
    before = threading.stack_size(256 * 1024)  # eight hundred of them
    try:
        late = told_late(contender, bench.pick(*BORROWERS), TIMEOUT)
    finally:
        threading.stack_size(before)
        contender.give_back(held)
        contender.close()
    return Reading({"median": median(late), "last": max(late)})


@contextmanager
def _cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
    yield {name: _case(bench, name) for name in (ELASTIC, QUEUE, PSYCOPG)}


def _case(bench: Bench, name: str) -> Case:
    return lambda _share: _read(bench, name)


ROW = Row(
    name="timeouts",
    title=f"{BORROWERS[0]} borrowers whose time is up at the same moment ({BORROWERS[1]} in a quick run)",
    notes=(
        f"One connection, which is out all along, and a timeout of {TIMEOUT:g} s. How late each borrower is told,\n"
        "after its own timeout. ElasticPool's error names who holds the connection; the others' do not."
    ),
    quantities=(Quantity("median", "seconds"), Quantity("last", "seconds")),
    targets=(
        Target(quantity="median", of=ELASTIC, to=QUEUE, at_most=2.0),
        Target(quantity="last", of=ELASTIC, to=QUEUE, at_most=2.0),
    ),
    rounds=(1, 1),
    seconds=(45, 9),
    warm_up="never",
    cases=_cases,
)
