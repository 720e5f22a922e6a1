"""When to try again: what a pool remembers of connects that failed."""

from __future__ import annotations

import math

SHORTEST_DELAY = 0.1
"""Seconds: no retry comes sooner."""

LONGEST_DELAY = 5.0
"""Seconds: no retry comes later."""


def retry_delay(failures: int, jitter: float) -> float:
    """How long to wait after a failed attempt: 0.1 s at first, doubling, below 5 s, spread so that no herd forms.

    Args:
        failures: attempts that failed in a row, 1 or more.
        jitter: a fresh random number, 0 <= jitter < 1; the delay grows with it to just under twice its least.

    Returns:
        Seconds: from 0.1 up to 0.2 after one failure, from 0.2 up to 0.4 after two, ..., from 2.5 up to 5 at last.

    Raises:
        ValueError: either argument is out of its range.
    """
    if failures < 1:
        raise ValueError(f"failures must be 1 or more, not {failures!r}")
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter must be 0 or more and below 1, not {jitter!r}")
    doublings = min(failures - 1, 16)  # far beyond the cap, far below overflow
    least: float = min(SHORTEST_DELAY * 2**doublings, LONGEST_DELAY / 2)
    return least * (1 + jitter)


class Reconnecting:
    """The pool's troubles with connecting. Pure: no clock, no randomness of its own.

    A pool that never connected reports every failure at once: the settings are probably wrong. One that has worked
    rides out an outage that may pass, for ``patience`` seconds: its waiters wait for the server instead of being told.
    """

    __slots__ = ("_patience", "failures", "has_worked", "last_error", "last_words", "retry_at", "riding_out", "since")

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.has_worked = False
        self.recovered()
        self.has_worked = False

    def recovered(self) -> None:
        """A connect succeeded."""
        self.has_worked = True
        self.failures = 0
        """Connects that failed since one last succeeded."""
        self.since = math.inf
        """When the first of them failed."""
        self.retry_at = -math.inf
        self.riding_out = False
        """Waiters wait for the outage to pass instead of being told."""
        self.last_error: BaseException | None = None
        """What the last connect raised, unless a waiter was told: it would keep alive all that he has in his frames."""
        self.last_words = ""
        """What it said."""

    def failed(self, error: BaseException, now: float, *, transient: bool, jitter: float) -> None:
        """A connect failed; ``transient`` says whether trying again may help, ``jitter`` is in [0, 1)."""
        self.failures += 1
        self.last_error = error
        self.last_words = str(error).strip() or type(error).__name__
        self.since = min(self.since, now)
        self.retry_at = now + retry_delay(self.failures, jitter)
        self.riding_out = transient and self.has_worked and now - self.since < self._patience

    def allowed(self, wanted: int, now: float, *, opening: int, somebody_waits: bool) -> int:
        """How many of the wanted connects may start now.

        After a failure there is one probe at a time, each when its backoff is over. Waiters who are to be told at once
        what is wrong are not kept waiting for that.
        """
        if not self.failures or (somebody_waits and not self.riding_out):
            return wanted
        return min(wanted, 1 - opening) if now >= self.retry_at else 0
