"""Facts about a pool at one moment, and the histogram they are counted in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

BUCKETS: Final = 32
"""Bucket ``i`` counts times below ``2**i`` microseconds and not below half of that; the last one, above half an hour,
has no end."""


class Histogram:
    """Counts times in buckets that double: cheap enough for every checkout, right to within a factor of two.

    Not thread-safe by itself. A reader gets a copy.
    """

    __slots__ = ("counts", "longest", "total")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.total = 0.0
        """The sum of all times, in seconds."""
        self.longest = 0.0
        """The longest time, in seconds."""

    def add(self, seconds: float) -> None:
        """Count one time, in seconds."""
        bucket = int(seconds * 1e6).bit_length()
        self.counts[bucket if bucket < BUCKETS else -1] += 1
        self.total += seconds
        if seconds > self.longest:
            self.longest = seconds

    @property
    def count(self) -> int:
        """How many times were counted."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """The mean, in seconds; 0 when nothing was counted."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, q: float) -> float:
        """The time, in seconds, that the share ``q`` (0 to 1) of all times did not exceed; exact to its bucket."""
        rank = q * self.count
        seen = 0
        for bucket, count in enumerate(self.counts):
            if count and seen + count >= rank:
                low = (1 << bucket) / 2e6 if bucket else 0.0
                high = (1 << bucket) / 1e6
                return min(low + (high - low) * max(0.0, rank - seen) / count, self.longest)
            seen += count
        return self.longest

    def copy(self) -> Histogram:
        """The same counts, no longer changing."""
        other = Histogram()
        other.counts = self.counts.copy()
        other.total = self.total
        other.longest = self.longest
        return other

    def __repr__(self) -> str:
        return f"<Histogram count={self.count} mean={self.mean:.6f}s longest={self.longest:.6f}s>"


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
        timeouts: borrowers who gave up after ``timeout``.
        refused: borrowers refused because the line was full.
        opens: connections opened so far.
        open_failures: connects that failed so far.
        closes: connections closed so far, by reason (``max_idle``, ``max_lifetime``, ``dead``, ``invalidated``,
            ``detached``, ``disposed``, ``closed``, ...).
        wait_time: how long those borrowers waited who had to stand in line.
        use_time: how long connections were out.
        open_time: how long connects took.
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
    closes: Mapping[str, int] = field(default_factory=dict)
    wait_time: Histogram = field(default_factory=Histogram)
    use_time: Histogram = field(default_factory=Histogram)
    open_time: Histogram = field(default_factory=Histogram)
