"""Why a borrower got nothing, in words that help at 3 a.m."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbkit.pool.holders import tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbkit.core.reconnecting import Reconnecting
    from dbkit.core.stats import PoolStats
    from dbkit.pool.holders import Holder


def why_timed_out(
    timeout: float,
    stats: PoolStats,
    trouble: Reconnecting,
    holders: Sequence[Holder],
    *,
    paused: bool,
    pending: str | None,
    now: float,
    asking: int,
) -> str:
    """The message of a ``PoolTimeoutError``: counts, settings, and what or who is in the way.

    Args:
        timeout: the seconds that were waited.
        stats: the pool as it is now.
        trouble: what the pool remembers of failed connects.
        holders: who has connections.
        paused: the pool was paused.
        pending: what connects under way wait for, if it is not the server.
        now: the moment, on the clock of ``trouble``.
        asking: the number of the thread that wanted a connection.
    """
    text = (
        f"no connection within timeout={timeout:g} s: {stats.in_use} in use, {stats.idle} idle, "
        f"{stats.opening} opening, of max_size={stats.max_size}; {stats.waiting} more waiting."
    )
    if paused:
        return text + " The pool is paused; resume() serves the line."
    if pending:
        text += f" {pending[0].upper()}{pending[1:]}."
    if trouble.failures:
        return text + (
            f" The server cannot be reached: {trouble.failures} attempts failed in {now - trouble.since:.1f} s, "
            f"the last with: {trouble.last_words}"
        )
    full = stats.in_use + stats.idle >= stats.max_size  # else he waits for a connect, not for himself
    return text + (" Held by:" + tell(holders, asking=asking if full else None) if holders else "")
