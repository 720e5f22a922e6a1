"""Whether a transaction that failed is worth running again, and when: decisions without a clock or a server."""

from __future__ import annotations

from enum import Enum
from typing import Final

CONFLICTS: Final = frozenset({"40001", "40P01"})
"""SQLSTATEs by which the server asks for another try: serialization failure, and deadlock."""

SHORTEST: Final = 0.01
"""Seconds that the first pause may take, at most, after an attempt that took no longer."""

LONGEST: Final = 2.0
"""Seconds that no pause exceeds."""


class Failure(Enum):
    """Why an attempt failed, as far as another attempt is concerned."""

    CONFLICT = "conflict"
    """It collided with another transaction; nothing of it stayed."""
    LOST = "lost"
    """The connection was lost before ``COMMIT`` was sent; nothing of it stayed."""
    NOT_COMMITTED = "not committed"
    """The connection was lost at ``COMMIT``, and the caller found out that nothing of it stayed."""
    FINAL = "final"
    """Another attempt would fail too, or might do the work twice."""


def judge(sqlstate: str | None, *, lost: bool, partly_committed: bool) -> Failure:
    """Judge an error of an attempt.

    Args:
        sqlstate: the error's; None where it has none.
        lost: the connection was lost, before ``COMMIT`` was sent.
        partly_committed: the function had committed part of its work by itself, which would be done twice.
    """
    if partly_committed:
        return Failure.FINAL
    if sqlstate in CONFLICTS:
        return Failure.CONFLICT
    return Failure.LOST if lost else Failure.FINAL


def pause(retry: int, took: float, jitter: float) -> float:
    """Seconds to wait before this retry.

    The longest possible pause doubles from retry to retry, and grows with the time that an attempt takes: transactions
    that collided are to start at different moments, compared with how long they run.

    Args:
        retry: which one, from 1.
        took: seconds that the failed attempt took.
        jitter: a random number, 0 to 1.
    """
    ceiling: float = max(SHORTEST, took) * 2.0 ** min(retry - 1, 30)
    return min(ceiling, LONGEST) * jitter


def next_pause(*, retry: int, retries: int, took: float, jitter: float, left: float | None) -> float | None:
    """Seconds to wait before the next attempt; None if there is to be none.

    Args:
        retry: which one it would be, from 1.
        retries: how many there may be.
        took: seconds that the failed attempt took.
        jitter: a random number, 0 to 1.
        left: seconds until the deadline; None for no deadline.
    """
    if retry > retries:
        return None
    seconds = pause(retry, took, jitter)
    return seconds if left is None or seconds < left else None
