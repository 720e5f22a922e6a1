"""What the statistics add to a checkout: one time counted in a histogram."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.measure import Bench, Case, Reading, Row, time_per_call
from benchmarks.results import Quantity, Target
from dbkit.core.stats import Histogram

ADD = "Histogram.add"


@contextmanager
def _cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
    times = [0.0001 * number for number in range(1, 101)]  # from a tenth of a millisecond up: several buckets
    add = Histogram().add

    def added(count: int) -> None:
        for seconds in itertools.islice(itertools.cycle(times), count):
            add(seconds)

    def looped(count: int) -> None:
        for _ in itertools.islice(itertools.cycle(times), count):
            pass

    with_add, alone = time_per_call(added), time_per_call(looped)

    def difference(share: float) -> Reading:
        return Reading({"time": with_add(share).numbers["time"] - alone(share).numbers["time"]})

    yield {ADD: difference}


ROW = Row(
    name="statistics",
    title="the statistics' share of a checkout",
    notes=(
        "A checkout that needs no waiting counts one time, how long the connection was out; one that waits counts a\n"
        "second. The loop around it is taken off."
    ),
    quantities=(Quantity("time", "seconds"),),
    targets=(Target(quantity="time", of=ADD, at_most=0.3e-6),),
    rounds=(40, 10),
    seconds=(5, 2),
    cases=_cases,
)
