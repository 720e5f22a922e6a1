"""What is measured when: a row has cases, and every round runs each case once, in another order."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

from benchmarks.report import Quantity, Target

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """What one case gave in one round.

    Attributes:
        numbers: by the name of the quantity.
        series: whole distributions behind them, for the charts.
    """

    numbers: Mapping[str, float]
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)


Case = Callable[[float], Reading]
"""Runs once, with this share of the row's usual effort (less than 1 to warm up), and tells what it read."""


@dataclass(frozen=True)
class Bench:
    """What a row is given.

    Attributes:
        dsn: the server's, over its unix socket, for libpq. It holds the password: never print it.
        quick: less of everything.
    """

    dsn: str
    quick: bool

    def pick(self, full: T, quick: T) -> T:
        """One of the two."""
        return quick if self.quick else full


@dataclass(frozen=True, kw_only=True)
class Row:
    """One piece of work, done by several pools.

    Attributes:
        name: what ``--only`` takes.
        title: the work, in one line.
        notes: how to read it; the JSON and the table carry it.
        quantities: what each case reads, in the order shown.
        targets: what is promised.
        rounds: how many there are, and how many in a quick run.
        cases: sets everything up and gives the cases by name, then takes everything down.
        once: one round without warming up, whatever the caller asks for: it is long, and does nothing.
    """

    name: str
    title: str
    notes: str
    quantities: tuple[Quantity, ...]
    targets: tuple[Target, ...]
    rounds: tuple[int, int]
    cases: Callable[[Bench], AbstractContextManager[Mapping[str, Case]]]
    once: bool = False


@dataclass
class Results:
    """All that a row's cases read: ``samples[case][quantity]`` has one number for each round."""

    row: Row
    samples: dict[str, dict[str, list[float]]]
    series: dict[str, dict[str, list[float]]]


WARM_UP = 0.15
"""The share of the usual effort spent on each case beforehand."""


def order(names: Sequence[str], number: int) -> list[str]:
    """The cases in the order of this round: each begins in turn, and every second round runs backwards."""
    turned = [*names[number % len(names) :], *names[: number % len(names)]]
    return turned[::-1] if number % 2 else turned


def run(row: Row, bench: Bench, *, rounds: int | None, progress: Callable[[str], None]) -> Results:
    """Measure one row.

    Args:
        row: which.
        bench: where.
        rounds: how many; None for the row's own number.
        progress: is told what is under way.
    """
    count = 1 if row.once else rounds or bench.pick(*row.rounds)
    samples: dict[str, dict[str, list[float]]] = {}
    series: dict[str, dict[str, list[float]]] = {}
    progress(f"{row.name}: setting up")
    with row.cases(bench) as cases:
        names = list(cases)
        for name in names:
            samples[name] = defaultdict(list)
            series[name] = defaultdict(list)
            if not row.once:
                progress(f"{row.name}: warming up {name}")
                cases[name](WARM_UP)
        gc.collect()
        gc.freeze()  # what was set up is not looked through again in every round
        try:
            for number in range(count):
                gc.collect()
                for name in order(names, number):
                    progress(f"{row.name}: round {number + 1} of {count}, {name}")
                    reading = cases[name](1.0)
                    for quantity, value in reading.numbers.items():
                        samples[name][quantity].append(value)
                    for what, values in reading.series.items():
                        series[name][what].extend(values)
        finally:
            gc.unfreeze()
    return Results(row, samples, series)


TURNS = 5
"""How often a quick thing is timed in a round; the quickest counts, as with ``timeit``: the others were interrupted."""


def time_per_call(cycle: Callable[[int], object], seconds: float = 0.001) -> Case:
    """A case that reads ``time``, the seconds per call, of something quick: the quickest of ``TURNS`` short turns.

    Args:
        cycle: does the work this many times.
        seconds: how long a turn lasts, about: shorter than what the system lets a process run at a stretch, so that
            most turns meet no interruption.
    """
    calls = 0

    def read(share: float) -> Reading:
        nonlocal calls
        if not calls:
            calls = _calls_that_take(cycle, seconds)
        return Reading({"time": min(_timed(cycle, calls) for _ in range(TURNS)) / calls})

    return read


def _calls_that_take(cycle: Callable[[int], object], seconds: float) -> int:
    """How many calls take about this long. Finding out also warms everything up."""
    calls = 1
    while (best := min(_timed(cycle, calls) for _ in range(TURNS))) < seconds / 4:
        calls *= 2
    return max(1, round(calls * seconds / best))


def _timed(cycle: Callable[[int], object], calls: int) -> float:
    began = perf_counter()
    cycle(calls)
    return perf_counter() - began
