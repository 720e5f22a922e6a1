"""From a pool's statistics to the values of the metrics: the same for every exporter. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from dbkit.core.policy import UNLIMITED
from dbkit.core.stats import Histogram, PoolStats
from dbkit.metrics import names
from dbkit.metrics.names import Metric

_FIRST, _LAST = -17, 6

BOUNDS: Final = tuple(2.0**exponent for exponent in range(_FIRST, _LAST + 1))
"""The upper bounds of the buckets, in seconds: 8 us to 64 s, each twice the one before, as the pool counts."""


@dataclass(frozen=True)
class Times:
    """A histogram as it is exported.

    Attributes:
        counts: how many times fell into each bucket; one more than ``BOUNDS``, for all that is above.
        total: the sum of all times, in seconds.
        least, most: no time was below or above, in seconds; both 0 where nothing was counted.
    """

    counts: tuple[int, ...]
    total: float
    least: float
    most: float

    @classmethod
    def of(cls, histogram: Histogram) -> Times:
        """What a pool's histogram counted."""
        counts = [0] * (len(BOUNDS) + 1)
        for bound, count in histogram.buckets:
            place = next((place for place, upper in enumerate(BOUNDS) if bound <= upper), len(BOUNDS))
            counts[place] += count
        least = histogram.buckets[0][0] / 2 if histogram.buckets else 0.0
        return cls(tuple(counts), histogram.total, min(least, histogram.longest), histogram.longest)

    def since(self, last: Times) -> Times:
        """What was counted after ``last``, of the same histogram; its bounds are those of its buckets."""
        if last.count > self.count:  # another pool has the name now
            return self
        counts = tuple(now - before for now, before in zip(self.counts, last.counts, strict=True))
        met = [place for place, count in enumerate(counts) if count]
        if not met:
            return Times(counts, 0.0, 0.0, 0.0)
        most = min(BOUNDS[met[-1]], self.most) if met[-1] < len(BOUNDS) else self.most
        return Times(counts, self.total - last.total, BOUNDS[met[0] - 1] if met[0] else 0.0, most)

    @property
    def count(self) -> int:
        """How many times were counted."""
        return sum(self.counts)

    @property
    def up_to(self) -> list[int]:
        """How many times were at most each bound, and in all: Prometheus' way to count."""
        return list(accumulate(self.counts))

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; ``Times(**...)`` reads it."""
        return {"counts": self.counts, "total": self.total, "least": self.least, "most": self.most}


@dataclass(frozen=True)
class Reading:
    """One value of one metric.

    Attributes:
        metric: which.
        attributes: by the attribute's name.
        value: a number, or the times of a histogram.
    """

    metric: Metric
    attributes: Mapping[str, str]
    value: int | Times


def read(pool_name: str, stats: PoolStats) -> Iterator[Reading]:
    """All metrics of one pool at the moment of ``stats``. A pool without a maximum has none of the two maxima."""
    pool = {names.POOL: pool_name}
    for state, count in (("idle", stats.idle), ("used", stats.in_use), ("opening", stats.opening)):
        yield Reading(names.COUNT, {**pool, names.STATE: state}, count)
    if stats.max_size < UNLIMITED:
        yield Reading(names.IDLE_MAX, pool, stats.max_size)
        yield Reading(names.MAX, pool, stats.max_size)
    for metric, number in (
        (names.IDLE_MIN, stats.min_size),
        (names.PENDING, stats.waiting),
        (names.TIMEOUTS, stats.timeouts),
        (names.BORROWS, stats.borrows),
        (names.REFUSED, stats.refused),
        (names.OPENED, stats.opens),
        (names.OPEN_FAILURES, stats.open_failures),
        (names.LEAKS, stats.leaks),
    ):
        yield Reading(metric, pool, number)
    for reason, count in stats.closes.items():
        yield Reading(names.CLOSED, {**pool, names.REASON: reason}, count)
    for metric, histogram in (
        (names.CREATE_TIME, stats.open_time),
        (names.WAIT_TIME, stats.wait_time),
        (names.USE_TIME, stats.use_time),
    ):
        yield Reading(metric, pool, Times.of(histogram))
