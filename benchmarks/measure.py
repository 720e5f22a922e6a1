"""What is measured when.

A row has cases. A *run* sets all of them up from nothing (new pools, new connections), warms them up and goes through
some *rounds*; every round runs each case once, in another order, so whatever else the machine does meets all of them
alike. A run's figure is the median of its rounds (or the worst, where a promise is about every single one).
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import monotonic, perf_counter
from typing import Literal, TypeVar

from benchmarks.figures import median
from benchmarks.results import Quantity, Run, Target

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """What one case gave in one round.

    Attributes:
        numbers: by the name of the quantity.
        shapes: what is drawn, by name: as many points in each round, or nearly.
    """

    numbers: Mapping[str, float]
    shapes: Mapping[str, Sequence[float]] = field(default_factory=dict)


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
    """One piece of work, done by several pools. Where there are two numbers, the second is for a quick run.

    Attributes:
        name: what the command takes.
        title: the work, in one line.
        notes: how to read it; the results carry it.
        quantities: what each case reads, in the order shown.
        targets: what is promised.
        runs: how many.
        rounds: how many there are in each run.
        seconds: no run begins that would probably end later than this after the first began. One always does.
        warm_up: which runs begin with a little of each case that does not count. Never, where a case is long or makes
            all that it needs itself.
        cases: sets everything up and gives the cases by name, then takes everything down.
    """

    name: str
    title: str
    notes: str
    quantities: tuple[Quantity, ...]
    targets: tuple[Target, ...]
    runs: tuple[int, int] = (5, 2)
    rounds: tuple[int, int]
    seconds: tuple[float, float]
    warm_up: Literal["each run", "never"] = "each run"
    cases: Callable[[Bench], AbstractContextManager[Mapping[str, Case]]]


WARM_UP = 0.15
"""The share of the usual effort spent on each case beforehand."""


def order(names: Sequence[str], number: int) -> list[str]:
    """The cases in the order of this round: each begins in turn, and every second round runs backwards."""
    turned = [*names[number % len(names) :], *names[: number % len(names)]]
    return turned[::-1] if number % 2 else turned


def runs_of(row: Row, bench: Bench, *, done: int = 0, progress: Callable[[str], None]) -> Iterator[Run]:
    """Measure one row, run by run.

    Args:
        row: which.
        bench: where.
        done: runs that are there already.
        progress: is told what is under way.
    """
    wanted, limit = bench.pick(*row.runs), bench.pick(*row.seconds)
    began, longest = monotonic(), 0.0
    for number in range(done, wanted):
        run_began = monotonic()
        if number > done and run_began - began + longest > limit:
            return
        yield one_run(row, bench, number, lambda what, number=number: progress(f"run {number + 1} of {wanted}, {what}"))
        longest = max(longest, monotonic() - run_began)


def one_run(row: Row, bench: Bench, number: int, progress: Callable[[str], None]) -> Run:
    """Set a row's cases up, go through its rounds, and take everything down again.

    Args:
        row: which.
        bench: where.
        number: of the run; each begins with another case.
        progress: is told what is under way.
    """
    numbers: dict[str, dict[str, list[float]]] = {}
    shapes: dict[str, dict[str, list[Sequence[float]]]] = {}
    rounds = bench.pick(*row.rounds)
    progress("setting up")
    with row.cases(bench) as cases:
        names = list(cases)
        for name in names:
            numbers[name], shapes[name] = defaultdict(list), defaultdict(list)
            if row.warm_up == "each run":
                progress(f"warming up {name}")
                cases[name](WARM_UP)
        gc.collect()
        gc.freeze()  # what was set up is not looked through again in every round
        try:
            for place in range(rounds):
                gc.collect()
                for name in order(names, number + place):
                    progress(f"round {place + 1} of {rounds}, {name}")
                    reading = cases[name](1.0)
                    for quantity, value in reading.numbers.items():
                        numbers[name][quantity].append(value)
                    for what, points in reading.shapes.items():
                        shapes[name][what].append(points)
        finally:
            gc.unfreeze()
    over = {quantity.name: max if quantity.worst else median for quantity in row.quantities}
    return Run(
        {case: {quantity: over[quantity](values) for quantity, values in got.items()} for case, got in numbers.items()},
        {case: {what: drawn[-1] for what, drawn in got.items()} for case, got in shapes.items() if got},
    )


TURNS = 5
"""How often a quick thing is timed in a round; the quickest counts, as with ``timeit``: the others were interrupted."""


def time_per_call(
    cycle: Callable[[int], object], seconds: float = 0.001, *, before: Callable[[], object] = lambda: None
) -> Case:
    """A case that reads ``time``, the seconds per call, of something quick: the quickest of ``TURNS`` short turns.

    Args:
        cycle: does the work this many times.
        seconds: how long a turn lasts, about: shorter than what the system lets a process run at a stretch, so that
            most turns meet no interruption.
        before: is done before each round, and is not timed; then a turn that is not timed either.
    """
    calls = 0

    def read(share: float) -> Reading:
        nonlocal calls
        before()
        if not calls:
            calls = _calls_that_take(cycle, seconds)
        cycle(calls)
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
