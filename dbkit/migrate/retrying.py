"""Whether a migration that gave up waiting for a table is tried again, and when. Pure: no clock, no server."""

from __future__ import annotations

from typing import Final

LOCK_NOT_AVAILABLE: Final = "55P03"
DEADLOCK_DETECTED: Final = "40P01"

PASSING: Final = frozenset({LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED})
"""SQLSTATEs that say: others use the table now. The same statement may succeed a moment later."""

FIRST_PAUSE: Final = 1.0
"""Seconds before the second attempt, at most; each further pause may be half as long again, up to ``LAST_PAUSE``."""
LAST_PAUSE: Final = 15.0


def pause_before_retry(
    sqlstate: str | None, *, undone: bool, attempt: int, time_left: float, luck: float
) -> float | None:
    """Decide whether to run a failed migration again.

    In the pause the queries that stood in line behind the migration's statement are served. It is jittered, so that
    the migration does not meet the same query of a rhythm again and again.

    Args:
        sqlstate: of the error that the attempt failed with; None for an error that has none.
        undone: whether the rollback undid all that the attempt did. Else a second run would do things twice.
        attempt: the number of attempts made, from 1.
        time_left: seconds until the migration's deadline.
        luck: a random number from 0 to 1.

    Returns:
        Seconds to wait before the next attempt; None to give up.
    """
    if sqlstate not in PASSING or not undone:
        return None
    longest = min(FIRST_PAUSE * 1.5 ** min(attempt - 1, 20), LAST_PAUSE)
    pause = longest * (0.5 + luck / 2)
    return pause if pause < time_left else None
