"""A pool's numbers: what is counted, the histogram it is counted in, and the snapshot that users see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import frexp
from typing import Final

_NEVER_ZERO: Final = 1e-9
"""Added to every time, so that zero falls into the first bucket and not among the seconds."""


class Histogram:
    """Counts times in buckets that double: cheap enough for every checkout, right to within a factor of two.

    ``counts[e]`` counts the times from ``2**(e-1)`` up to ``2**e`` seconds; short times have negative exponents, which
    a list understands. Not thread-safe by itself; a reader gets a copy.
    """

    __slots__ = ("counts", "longest", "total")

    def __init__(self) -> None:
        self.counts = [0] * 64
        self.total = 0.0
        """The sum of all times, in seconds."""
        self.longest = 0.0
        """The longest time, in seconds."""

    def add(self, seconds: float) -> None:
        """Count one time, in seconds."""
        self.counts[frexp(seconds + _NEVER_ZERO)[1]] += 1
        self.total += seconds
        if seconds > self.longest:
            self.longest = seconds

    def merge(self, other: Histogram) -> Histogram:
        """Count all that the other has counted, too. Returns this one."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        self.longest = max(self.longest, other.longest)
        return self

    def copy(self) -> Histogram:
        """The same counts, no longer changing."""
        return Histogram().merge(self)

    @property
    def count(self) -> int:
        """How many times were counted."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """The mean, in seconds; 0 when nothing was counted."""
        return self.total / self.count if self.count else 0.0

    @property
    def buckets(self) -> list[tuple[float, int]]:
        """``(upper bound in seconds, count)``, in order, the empty ones left out."""
        exponents = range(-32, 32)
        return [(2.0**exponent, self.counts[exponent]) for exponent in exponents if self.counts[exponent]]

    def quantile(self, q: float) -> float:
        """The time, in seconds, that the share ``q`` (0 to 1) of all times did not exceed; exact to its bucket."""
        rank = q * self.count
        seen = 0
        for bound, count in self.buckets:
            if seen + count >= rank:
                inside = max(0.0, rank - seen) / count
                return min(bound / 2 * (1 + inside), self.longest)
            seen += count
        return self.longest

    def __repr__(self) -> str:
        return f"<Histogram count={self.count} mean={self.mean:.6f}s longest={self.longest:.6f}s>"


@dataclass(kw_only=True)
class Totals:
    """The counts of a pool so far. They outlive the pool when SQLAlchemy rebuilds it. Not thread-safe by themselves."""

    timeouts: int = 0
    refused: int = 0
    opens: int = 0
    open_failures: int = 0
    closes: Counter[str] = field(default_factory=Counter)
    leaks: int = 0
    waited_in_vain: float = 0.0
    """Seconds, of all borrowers that left the line without a connection."""
    wait_time: Histogram = field(default_factory=Histogram)
    use_time: Histogram = field(default_factory=Histogram)
    """Of slots that are gone; a slot that lives keeps its own."""
    open_time: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, kw_only=True)
class PoolStats:
    """A pool at one moment: one consistent snapshot. ``idle + in_use + opening == size``.

    Attributes:
        size: connections that exist, those being opened included.
        idle: connections ready to be borrowed.
        in_use: connections that are out.
        opening: connections being opened, or checked.
        waiting: borrowers standing in line.
        min_size: the policy's minimum.
        max_size: the policy's maximum.
        borrows: how often a connection was borrowed so far.
        timeouts: borrowers that gave up after ``timeout``.
        refused: borrowers refused because the line was full.
        opens: connections opened so far.
        open_failures: connection attempts that failed so far.
        leaks: borrows reported as leaked so far.
        closes: connections closed so far, by reason; the words are those of ``CloseReason``.
        wait_time: how long those borrowers waited that had to stand in line and were served.
        use_time: how long connections were out.
        open_time: how long successful connection attempts took.
    """

    size: int
    idle: int
    in_use: int
    opening: int
    waiting: int
    min_size: int
    max_size: int
    borrows: int = 0
    timeouts: int = 0
    refused: int = 0
    opens: int = 0
    open_failures: int = 0
    leaks: int = 0
    closes: Mapping[str, int] = field(default_factory=dict)
    wait_time: Histogram = field(default_factory=Histogram)
    use_time: Histogram = field(default_factory=Histogram)
    open_time: Histogram = field(default_factory=Histogram)
