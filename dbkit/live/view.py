"""A pool at one moment, as it travels: facts, to and from JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from dbkit.core.profile import CallSiteUse

if TYPE_CHECKING:
    from dbkit.core.holding import Holder
    from dbkit.core.profile import Profile
    from dbkit.core.stats import Histogram, PoolStats

FORMAT: Final = 1
"""The version of the shape. Names are only ever added within one."""

MOST_HOLDERS: Final = 50
"""Holders that travel, the oldest first."""

MOST_USES: Final = 20
"""Call sites of the profile that travel, those to change first before the others."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long something took, so far. All in seconds."""

    count: int
    total: float
    p50: float
    p95: float
    longest: float

    @classmethod
    def of(cls, histogram: Histogram) -> Self:
        """What a histogram has counted."""
        return cls(
            count=histogram.count,
            total=histogram.total,
            p50=histogram.quantile(0.5),
            p95=histogram.quantile(0.95),
            longest=histogram.longest,
        )

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """What ``asdict`` gave, after its journey."""
        return cls(
            count=int(told["count"]),
            total=float(told["total"]),
            p50=float(told["p50"]),
            p95=float(told["p95"]),
            longest=float(told["longest"]),
        )


@dataclass(frozen=True, kw_only=True)
class HolderView:
    """Who holds a connection; see ``dbkit.core.holding.Holder``."""

    thread: str
    seconds: float
    where: Sequence[str]
    borrowed_at: Sequence[str]
    ended: bool

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """What ``asdict`` gave, after its journey."""
        return cls(
            thread=str(told["thread"]),
            seconds=float(told["seconds"]),
            where=tuple(map(str, told["where"])),
            borrowed_at=tuple(map(str, told["borrowed_at"])),
            ended=bool(told["ended"]),
        )


@dataclass(frozen=True, kw_only=True)
class PoolView:
    """A pool at one moment. The numbers are those of ``PoolStats``.

    Attributes:
        name: what the application calls it.
        pid: of the application's process.
        wait, use, open: times in line, connections out, and connection attempts.
        holders: who has the connections, the oldest first, ``MOST_HOLDERS`` at most.
        profile: which lines use the pool, ``MOST_USES`` at most; see ``pool.profile()``.
    """

    name: str
    pid: int
    size: int
    idle: int
    in_use: int
    opening: int
    waiting: int
    min_size: int
    max_size: int
    borrows: int
    timeouts: int
    refused: int
    opens: int
    open_failures: int
    closes: Mapping[str, int]
    wait: Times
    use: Times
    open: Times
    holders: Sequence[HolderView]
    profile: Sequence[CallSiteUse] = ()

    @classmethod
    def of(
        cls, stats: PoolStats, holders: Sequence[Holder], *, name: str, pid: int, profile: Profile | None = None
    ) -> Self:
        """What ``pool.stats()``, ``pool.holders()`` and ``pool.profile()`` say."""
        return cls(
            name=name,
            pid=pid,
            size=stats.size,
            idle=stats.idle,
            in_use=stats.in_use,
            opening=stats.opening,
            waiting=stats.waiting,
            min_size=stats.min_size,
            max_size=stats.max_size,
            borrows=stats.borrows,
            timeouts=stats.timeouts,
            refused=stats.refused,
            opens=stats.opens,
            open_failures=stats.open_failures,
            closes=dict(stats.closes),
            wait=Times.of(stats.wait_time),
            use=Times.of(stats.use_time),
            open=Times.of(stats.open_time),
            holders=tuple(
                HolderView(
                    thread=each.thread,
                    seconds=each.seconds,
                    where=each.where,
                    borrowed_at=each.borrowed_at,
                    ended=each.ended,
                )
                for each in holders[:MOST_HOLDERS]
            ),
            profile=() if profile is None else profile.uses[:MOST_USES],
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON, with its ``format``."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, told: object) -> Self:
        """What ``to_dict`` gave, after its journey; names that are not known here are left out.

        Raises:
            ValueError: it is no such thing.
        """
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise ValueError(f"this is no picture of a pool in format {FORMAT}")
        known = {name: told[name] for name in cls.__dataclass_fields__ if name in told}
        try:
            for name in ("wait", "use", "open"):
                known[name] = Times.from_dict(known[name])
            known["holders"] = tuple(HolderView.from_dict(holder) for holder in known["holders"])
            known["profile"] = tuple(CallSiteUse(**use) for use in known.get("profile", ()))
            for name in _COUNTS:
                known[name] = int(known[name])
            return cls(**known)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(f"this picture of a pool is not whole: {error}") from error


_COUNTS: Final = (
    "pid", "size", "idle", "in_use", "opening", "waiting", "min_size", "max_size", "borrows", "timeouts", "refused",
    "opens", "open_failures",
)  # fmt: skip
