"""Why a borrower got nothing, in words that help at 3 a.m."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbkit.core.holding import tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbkit.core.holding import Holder
    from dbkit.core.reconnecting import Reconnecting
    from dbkit.core.stats import PoolStats

OWN_HOLD = (
    "\nThe waiting {kind} itself holds one of them: code that borrows a second connection while it keeps the first "
    "locks itself out when the pool is full. Pass the first one down, or give it back first."
)


@dataclass(frozen=True, kw_only=True)
class Standstill:
    """A pool that lent nothing, at one moment. Borrowers that time out together share one.

    Attributes:
        counts: the pool's counts, as a sentence.
        cause: what is in the way: a pause, an outage, the holders. Empty if nothing is known to be.
        held_since: since when the threads that fill the pool have had a connection, by their numbers; empty if the
            pool is not full, or something else than its holders is in the way.
    """

    counts: str
    cause: str
    held_since: Mapping[int, float]


def describe(
    stats: PoolStats,
    trouble: Reconnecting,
    holders: Sequence[Holder],
    *,
    paused: bool,
    pending: str | None,
    now: float,
) -> Standstill:
    """Put a pool that lends nothing into words.

    Args:
        stats: the pool's numbers.
        trouble: what the pool remembers of failed connection attempts.
        holders: who has connections.
        paused: the pool is paused.
        pending: the cause why connection attempts under way take long, if it is not the server.
        now: the moment of all this, on the clock of ``trouble``.
    """
    limit = "with no limit" if stats.max_size >= sys.maxsize else f"of max_size={stats.max_size}"
    counts = (
        f"{stats.in_use} in use, {stats.idle} idle, {stats.opening} opening, {limit}; {stats.waiting} more waiting."
    )
    if paused:
        return Standstill(counts=counts, cause=" The pool is paused; resume() serves the line.", held_since={})
    cause = f" {pending[0].upper()}{pending[1:]}." if pending else ""
    if trouble.failures:
        cause += (
            f" The server cannot be reached: {trouble.failures} attempts failed in {now - trouble.since:.1f} s, "
            f"the last with: {trouble.last_words}"
        )
        return Standstill(counts=counts, cause=cause, held_since={})
    if holders:
        cause += f" Held by:{tell(holders)}"
    full = stats.in_use + stats.idle >= stats.max_size  # else the borrower waited for a connection attempt
    held_since = {holder.thread_id: now - holder.seconds for holder in reversed(holders)} if full else {}
    return Standstill(counts=counts, cause=cause, held_since=held_since)


def why_timed_out(timeout: float, standstill: Standstill, *, asking: int, began: float, kind: str = "thread") -> str:
    """The message of a ``PoolTimeoutError``: counts, settings, and what or who is in the way.

    Args:
        timeout: the seconds that were waited.
        standstill: the pool at a moment of that wait.
        asking: the number of the borrower that wanted a connection.
        began: when it began to wait. A connection that came into its hands later was not in its own way.
        kind: what the borrower is called: ``thread`` or ``task``.
    """
    waits_for_itself = standstill.held_since.get(asking, began) < began
    text = f"no connection within timeout={timeout:g} s: {standstill.counts}{standstill.cause}"
    return text + OWN_HOLD.format(kind=kind) if waits_for_itself else text
