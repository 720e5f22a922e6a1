"""Numbers about numbers: quantiles, spreads, fairness. Pure."""

from __future__ import annotations

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
    """The middle of some values and how far they scatter: half of them lie from ``low`` to ``high``."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The median and the quartiles of these values, of which there must be one at least."""
        return cls(quantile(values, 0.5), quantile(values, 0.25), quantile(values, 0.75), len(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours over theirs, round by round: whatever slowed a whole round down cancels out.

    Raises:
        ValueError: there are not as many of ours as of theirs.
    """
    return [our / their if their else float("inf") if our else 1.0 for our, their in zip(ours, theirs, strict=True)]
