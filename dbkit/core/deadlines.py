"""The arithmetic of deadlines, and where the time went. Pure: ``now`` is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

RENEWED_BELOW: Final = 0.9
"""A statement's timeout is set again once less than this share of it is left until the deadline. So a statement may
pass the deadline by a tenth of what was left; setting it for each statement would cost a round trip each."""


GRACE: Final = 0.05
"""The share of its time by which a statement may be late before its connection is given up: the server, which was told
to stop it, has its chance first."""

LEAST_GRACE, MOST_GRACE = 0.1, 1.0
"""Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpent:
    """Where the time of a deadline went, in seconds.

    Attributes:
        waiting: for a free connection of the pool.
        connecting: for a new connection.
        statements: for the server's answers.
        elsewhere: all else, which is the program's own work.
    """

    waiting: float
    connecting: float
    statements: float
    elsewhere: float

    def __str__(self) -> str:
        return (
            f"{self.waiting:.2f} s waiting for a connection, {self.connecting:.2f} s connecting, "
            f"{self.statements:.2f} s in statements, {self.elsewhere:.2f} s elsewhere"
        )


def spend(total: float, *, waiting: float, connecting: float, statements: float) -> TimeSpent:
    """Account for ``total`` seconds; what no part claims was spent elsewhere."""
    elsewhere = max(0.0, total - waiting - connecting - statements)
    return TimeSpent(waiting=waiting, connecting=connecting, statements=statements, elsewhere=elsewhere)


def overlap(began: float, ended: float, since: float, until: float) -> float:
    """Seconds that two spans of time have in common."""
    return max(0.0, min(ended, until) - max(began, since))


def grace(seconds: float) -> float:
    """Seconds from the end of a time of ``seconds`` until the client gives up a server that says nothing."""
    return min(max(GRACE * seconds, LEAST_GRACE), MOST_GRACE)


def milliseconds(seconds: float) -> int:
    """For the server, whose 0 means no limit: rounded up, and at least 1."""
    return max(1, math.ceil(seconds * 1000))


def is_worn(wanted: float | None, given: float | None) -> bool:
    """Whether a statement's timeout must be set again.

    Args:
        wanted: seconds that the next statement may take; None for no limit.
        given: seconds that the server was told last; None for no limit.
    """
    if wanted is None or given is None:
        return wanted is not given
    return wanted < given * RENEWED_BELOW or given < wanted * RENEWED_BELOW
