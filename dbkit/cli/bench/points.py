"""What is measured, and what follows from it. Pure.

Little's law: the connections in use on average are the borrows in a second times the seconds each borrow lasts. It
holds whatever the traffic looks like, so it turns a measured service time into the size of a pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING, Final

from dbkit.cli.plain import seconds_text

if TYPE_CHECKING:
    from dbkit.core.stats import Histogram

ENOUGH: Final = 0.9
"""The share of the highest throughput that a pool must reach to be large enough."""

SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
THREADS: Final = (1, 4, 16, 64)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One pool under one load.

    Attributes:
        size: of the pool.
        threads: that borrow as fast as they can.
        seconds: it was measured for.
        borrows: in that time.
        wait_mean, wait_p95: seconds in line, of all borrows, those that did not wait included.
        service: mean seconds that a connection was out.
    """

    size: int
    threads: int
    seconds: float
    borrows: int
    wait_mean: float
    wait_p95: float
    service: float

    @property
    def throughput(self) -> float:
        """Borrows in a second."""
        return self.borrows / self.seconds if self.seconds else 0.0


def grid(most: int) -> list[tuple[int, int]]:
    """The pools and loads to measure: sizes and threads. Fewer threads than connections would leave some unused.

    Args:
        most: the largest size.
    """
    sizes = [*(size for size in SIZES if size < most), most]
    return [(size, threads) for size in sizes for threads in _loads(size)]


def _loads(size: int) -> tuple[int, ...]:
    return tuple(threads for threads in THREADS if threads >= size) or (size,)


def better(points: Sequence[Point]) -> list[Point]:
    """Of several measurements of the same pool and load the quickest: what disturbs only ever slows down."""
    best: dict[tuple[int, int], Point] = {}
    for point in points:
        known = best.get((point.size, point.threads))
        if known is None or known.throughput < point.throughput:
            best[point.size, point.threads] = point
    return list(best.values())


def wait_quantile(waits: Histogram, borrows: int, q: float) -> float:
    """The wait that the share ``q`` of all borrows did not exceed. The histogram knows only those that waited."""
    served_at_once = borrows - waits.count
    if borrows <= 0 or q * borrows <= served_at_once:
        return 0.0
    return waits.quantile((q * borrows - served_at_once) / waits.count)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """How large the pool should be.

    Attributes:
        max_size: of each pool.
        reasons: sentences, in the order of the argument.
    """

    max_size: int
    reasons: Sequence[str]


def advise(points: Sequence[Point], *, room: int, pools: int, rate: float | None) -> Advice:
    """The size to recommend.

    Args:
        points: at least one.
        room: connections that the server has for all pools.
        pools: how many pools share them.
        rate: borrows in a second that all pools together are to serve; None for as many as one process can do.
    """
    knee = knee_of(points)
    busy = knee.throughput * knee.service
    reasons = [
        f"One process reaches {knee.throughput:,.0f} borrows/s with {_connections(knee.size)}; a larger pool adds less "
        f"than {1 - ENOUGH:.0%} to that.",
        f"Little's law: {knee.throughput:,.0f}/s x {seconds_text(knee.service)} that each connection is out = "
        f"{busy:.1f} in use on average.",
    ]
    size = knee.size
    if rate is not None:
        share = rate / pools
        light = _alone(points)
        needed = share * light
        size = max(1, ceil(needed + 2 * sqrt(needed)))
        reasons.append(
            f"For {rate:,.0f}/s in {pools} {'pool' if pools == 1 else 'pools'}: {share:,.0f}/s x "
            f"{seconds_text(light)} = {needed:.1f} in use, and twice its square root for bursts: {size}."
        )
        if share > knee.throughput:
            size = min(size, knee.size)
            reasons.append(f"One process does not reach {share:,.0f}/s here, whatever its pool: start more processes.")
    fits = max(1, room // pools)
    if size > fits:
        reasons.append(
            f"The server has room for {room} connections, {fits} for each of {pools} pools: no more than that."
        )
        size = fits
    return Advice(max_size=size, reasons=reasons)


def knee_of(points: Sequence[Point]) -> Point:
    """The smallest pool that is fast enough, at the load at which it is fastest."""
    most = max(point.throughput for point in points)
    good = [point for point in points if point.throughput >= ENOUGH * most]
    smallest = min(point.size for point in good)
    return max((point for point in good if point.size == smallest), key=lambda point: point.throughput)


def _alone(points: Sequence[Point]) -> float:
    """The service time where connections do not compete: of the smallest pool, at the load at which it is fastest."""
    smallest = min(point.size for point in points)
    return max((point for point in points if point.size == smallest), key=lambda point: point.throughput).service


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"
