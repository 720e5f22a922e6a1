"""Who uses the pool: what is kept of the sampled borrows, and the table that it makes.

Pure: ``pool/profiling.py`` samples, and knows the calls. A borrow is *sampled* when it begins, by chance, one in
``every``; so each call site is met as often as it borrows, whatever the rhythm in which the program does so.

Two questions, two columns. Who keeps connections busy: the share of the time that connections were held. Who makes
others wait: while a borrow is out and others stand in line, each second of each of them is caused by those that hold a
connection then, in equal parts.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from types import CodeType
from typing import Final

from dbkit.core.holding import calls_of

EVERY: Final = 64
"""One borrow in so many is sampled, if nobody says otherwise."""

KEPT: Final = 4096
"""Sampled borrows kept; the oldest go first."""

WORST: Final = 3
"""Call sites named as those to change first."""

_SHOWN: Final = 20
"""Rows shown in the ``repr``."""


class Sample:
    """A sampled borrow: what is known when it begins, and what it came to. Written by one thread at a time.

    Attributes:
        code, line: the user's own call that asked for the connection.
        endpoint: what the program was serving, if it said so.
        waited_before: seconds that borrowers had waited in all when it was lent; infinite until then.
        held: seconds for which it held the connection; while it is out, up to the latest look.
        caused: seconds of others' waiting that it caused, likewise.
        ended: when it ended; None while it is out.
    """

    __slots__ = ("caused", "code", "ended", "endpoint", "held", "line", "waited_before")

    def __init__(self, code: CodeType, line: int, endpoint: str | None) -> None:
        self.code = code
        self.line = line
        self.endpoint = endpoint
        self.waited_before = math.inf
        self.held = self.caused = 0.0
        self.ended: float | None = None

    def look(self, now: float, *, since: float, waited: float, in_use: int) -> None:
        """Note what it has come to.

        Args:
            now: the moment.
            since: when it was lent.
            waited: seconds that borrowers have waited in all by now.
            in_use: connections in use now, its own included.
        """
        if now > since:
            self.held = now - since
        if waited > self.waited_before:
            self.caused = (waited - self.waited_before) / (in_use if in_use > 1 else 1)


class Samples:
    """The latest sampled borrows, and since when. ``add`` is one atomic append: safe from any thread without a lock."""

    __slots__ = ("add", "began", "every", "kept")

    def __init__(self, began: float, every: int = EVERY) -> None:
        self.began = began
        """Since when they are kept, on the pool's clock."""
        self.every = every
        self.kept: deque[Sample] = deque(maxlen=KEPT)
        """Those that ended, in that order."""
        self.add = self.kept.append

    def distance(self, chance: float) -> int:
        """Borrows until the next one that is sampled: ``every`` on average.

        Never the same distance all the time: a program that always borrows here, there, here, there would be sampled
        at one of the two places only.

        Args:
            chance: a random number in [0, 1).
        """
        return 1 + int(chance * (2 * self.every - 1))

    def profile(self, now: float, out: Iterable[Sample] = ()) -> Profile:
        """The table of what is kept, and of those that are still out."""
        ended = list(self.kept.copy())
        first = ended[0].ended if len(ended) == KEPT else None
        since = self.began if first is None else first
        return profile_of([*ended, *out], every=self.every, seconds=max(0.0, now - since))


@dataclass(frozen=True, kw_only=True)
class CallSiteUse:
    """How one call site, serving one endpoint, uses the pool. All times are seconds.

    Attributes:
        where: the call: ``function (file:line)``.
        endpoint: what the program was serving, if it said so.
        share: the part of all the time that connections were held, 0 to 1.
        wait_caused: what others waited because of it, in all; estimated.
        borrows: how often it borrowed; estimated.
        out: sampled borrows that are out now.
        p50, p95: for how long it held a connection: half of the times, and 95 of 100 times, no longer than this.
        longest: the longest time that it held a connection.
    """

    where: str
    endpoint: str | None
    share: float
    wait_caused: float
    borrows: int
    out: int
    p50: float
    p95: float
    longest: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Who uses the pool. Prints as a table.

    Attributes:
        every: one borrow in so many was sampled.
        samples: how many were.
        seconds: of how long the samples tell.
        in_use: connections in use on average, estimated.
        uses: one entry for each call site and endpoint; those that make others wait longest first, then those that
            hold connections longest.
    """

    every: int
    samples: int
    seconds: float
    in_use: float
    uses: tuple[CallSiteUse, ...]

    def worst(self, count: int = WORST) -> tuple[str, ...]:
        """The lines to change first when the pool is too small: those that cause most of the waiting.

        Where nobody waited they are those that hold connections longest in all.
        """
        waits: dict[str, tuple[float, float]] = {}
        for use in self.uses:
            wait, share = waits.get(use.where, (0.0, 0.0))
            waits[use.where] = (wait + use.wait_caused, share + use.share)
        return tuple(sorted(waits, key=lambda where: waits[where], reverse=True)[:count])

    def to_dict(self) -> dict[str, object]:
        """All of it, as plain dictionaries, lists, numbers and texts."""
        return {**asdict(self), "uses": [asdict(use) for use in self.uses], "worst": list(self.worst())}

    def to_json(self) -> str:
        """``to_dict()`` as JSON."""
        return json.dumps(self.to_dict())

    def __repr__(self) -> str:
        head = (
            f"<Profile of {self.samples} borrows, one in {self.every}, of {self.seconds:.0f} s; "
            f"{self.in_use:.2f} connections in use on average>"
        )
        if not self.uses:
            return head
        return "\n".join([head, *_table(self.uses[:_SHOWN]), *self._advice()])

    def _advice(self) -> Iterable[str]:
        if len(self.uses) > _SHOWN:
            yield f"and {len(self.uses) - _SHOWN} more"
        yield "If the pool is too small, change these first:"
        yield from (f"  {place}. {where}" for place, where in enumerate(self.worst(), start=1))


def profile_of(samples: Sequence[Sample], *, every: int, seconds: float) -> Profile:
    """The table of these samples.

    Args:
        samples: in any order.
        every: one borrow in so many was sampled.
        seconds: of how long they tell.
    """
    by_site: dict[tuple[CodeType, int, str | None], list[Sample]] = defaultdict(list)
    for sample in samples:
        by_site[sample.code, sample.line, sample.endpoint].append(sample)
    held_in_all = sum(sample.held for sample in samples)
    uses = [_use(found, every=every, held_in_all=held_in_all) for found in by_site.values()]
    uses.sort(key=lambda use: (use.wait_caused, use.share), reverse=True)
    return Profile(
        every=every,
        samples=len(samples),
        seconds=seconds,
        in_use=held_in_all * every / seconds if seconds else 0.0,
        uses=tuple(uses),
    )


def _use(samples: Sequence[Sample], *, every: int, held_in_all: float) -> CallSiteUse:
    held = sorted(sample.held for sample in samples)
    return CallSiteUse(
        where=str(calls_of([(samples[0].code, samples[0].line)])[0]),
        endpoint=samples[0].endpoint,
        share=sum(held) / held_in_all if held_in_all else 0.0,
        wait_caused=sum(sample.caused for sample in samples) * every,
        borrows=len(samples) * every,
        out=sum(sample.ended is None for sample in samples),
        p50=_quantile(held, 0.5),
        p95=_quantile(held, 0.95),
        longest=held[-1],
    )


def _quantile(ordered: Sequence[float], q: float) -> float:
    """The smallest that is not exceeded by the share ``q`` of all."""
    return ordered[max(0, -int(-q * len(ordered) // 1) - 1)]


def _table(uses: Sequence[CallSiteUse]) -> list[str]:
    head = ("held", "wait caused", "borrows", "p50", "p95", "longest", "where")
    rows = [
        (
            f"{use.share:.1%}",
            _time(use.wait_caused),
            f"~{use.borrows}",
            _time(use.p50),
            _time(use.p95),
            _time(use.longest) + (" (out)" if use.out else ""),
            use.where + (f" for {use.endpoint}" if use.endpoint else ""),
        )
        for use in uses
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head) - 1)]
    return [
        "  ".join([*(cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=True)), row[-1]])
        for row in [head, *rows]
    ]


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
