"""Numbers about numbers: quantiles, spreads, ratios, fairness. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def quantile(values: Sequence[float], share: float) -> float:
    """The value that the share (0 to 1) of all values does not exceed, interpolated between neighbours.

    Raises:
        ValueError: there are no values, or the share is out of its range.
    """
    if not values:
        raise ValueError("no values, so no quantile")
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, not {share!r}")
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def median(values: Sequence[float]) -> float:
    """The middle of these values.

    Raises:
        ValueError: there are no values.
    """
    return quantile(values, 0.5)


def jain(work: Sequence[float]) -> float:
    """Jain's index of how evenly work is spread: 1 when all did the same, 1/n when one did everything.

    Raises:
        ValueError: there are no workers, or nobody did anything.
    """
    squares = sum(done * done for done in work)
    if not squares:
        raise ValueError("nobody did anything, so it is neither fair nor unfair")
    return sum(work) ** 2 / (len(work) * squares)


@dataclass(frozen=True)
class Spread:
    """The median of some runs, and the lowest and the highest of them."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of these values, of which there must be one at least."""
        return cls(median(values), min(values), max(values), len(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours over theirs, run by run: whatever slowed a whole run down cancels out.

    Raises:
        ValueError: there are not as many of ours as of theirs.
    """
    return [our / their if their else float("inf") if our else 1.0 for our, their in zip(ours, theirs, strict=True)]


NINES = 0.1
"""The step from one point of a curve to the next, in nines."""


def curve(values: Sequence[float]) -> list[float]:
    """A distribution in a few dozen points: the value that ``1 - 10 ** -nines`` of all stay below, for growing nines.

    The nines grow by ``NINES`` from 0 as long as there is a value beyond them; the last point is the highest value.
    """
    ordered = sorted(values)
    count = len(ordered)
    steps = math.floor(math.log10(count) / NINES) if count > 1 else 0
    points = [ordered[min(count - 1, int(count * (1 - 10 ** -(step * NINES))))] for step in range(steps + 1)]
    return [*points, ordered[-1]]


def median_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """The middle of several curves, point by point, as far as all of them reach; the last point is that of the ends."""
    shared = min(len(points) for points in curves) - 1
    middle = [median([points[step] for points in curves]) for step in range(shared)]
    return [*middle, median([points[-1] for points in curves])]


def fair_shares(work: Sequence[float]) -> list[float]:
    """The work of each thread in multiples of a fair share, the busiest thread first."""
    fair = sum(work) / len(work)
    return sorted((done / fair for done in work), reverse=True)
