"""When to try again: what a pool remembers of connection attempts that failed. Pure: no clock, no randomness.

A pool that never connected reports every failure at once: the settings are probably wrong. One that has worked rides
out an outage for ``patience`` seconds: its waiters wait for the server instead of being told, unless the failure is a
refusal that waiting cannot mend.

**One round of failures is one failure to the backoff**, however many connections the outage cut off: an attempt that
began before the last step of the backoff changes nothing. While somebody waits, no attempt is further away than
``LONGEST_WHILE_WAITED_FOR``, so service returns soon after the server does; one probe at a time bounds the attempts.
"""

from __future__ import annotations

import math
from typing import Final

SHORTEST_DELAY: Final = 0.1
"""Seconds: no retry comes sooner."""

LONGEST_DELAY: Final = 5.0
"""Seconds: no retry comes later."""

LONGEST_WHILE_WAITED_FOR: Final = 0.5
"""Seconds: no retry comes later while a borrower waits for it."""


def retry_delay(round_number: int, jitter: float) -> float:
    """How long to wait after a round of failures: 0.1 s at first, doubling, below 5 s, spread so that no herd forms.

    Args:
        round_number: rounds that failed in a row, 1 or more.
        jitter: a fresh random number, 0 <= jitter < 1; the delay grows with it to just under twice its least.

    Returns:
        Seconds: from 0.1 up to 0.2 after one round, from 0.2 up to 0.4 after two, ..., from 2.5 up to 5 at last.

    Raises:
        ValueError: either argument is out of its range.
    """
    if round_number < 1:
        raise ValueError(f"round_number must be 1 or more, not {round_number!r}")
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter must be 0 or more and below 1, not {jitter!r}")
    doublings = min(round_number - 1, 16)  # far beyond the cap, far below overflow
    least: float = min(SHORTEST_DELAY * 2**doublings, LONGEST_DELAY / 2)
    return least * (1 + jitter)


class Reconnecting:
    """The pool's troubles with connecting."""

    __slots__ = (
        "_delay",
        "_patience",
        "_stepped_at",
        "failures",
        "has_worked",
        "last_error",
        "last_words",
        "riding_out",
        "rounds",
        "since",
    )

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.recovered()
        self.has_worked = False

    def recovered(self) -> None:
        """A connection attempt succeeded."""
        self.has_worked = True
        self.failures = 0
        """Attempts that failed since one last succeeded."""
        self.rounds = 0
        """Rounds of them: steps of the backoff."""
        self.since = math.inf
        """When the first of them failed."""
        self.riding_out = False
        """Waiters wait for the outage to pass instead of being told."""
        self.last_error: BaseException | None = None
        """The error of the last attempt, unless a waiter was told: it would keep alive all that its frames hold."""
        self.last_words = ""
        """The text of the last error."""
        self._stepped_at = -math.inf
        self._delay = 0.0

    def failed(self, error: BaseException, now: float, *, began: float, refused: bool, jitter: float) -> None:
        """A connection attempt failed.

        Args:
            error: what it raised.
            now: the moment.
            began: when the attempt began.
            refused: trying again does not help.
            jitter: a fresh random number, 0 <= jitter < 1.
        """
        self.failures += 1
        self.last_error = error
        self.last_words = str(error).strip() or type(error).__name__
        self.since = min(self.since, now)
        self.riding_out = self.has_worked and not refused and now - self.since < self._patience
        if began >= self._stepped_at:
            self.rounds += 1
            self._stepped_at = now
            self._delay = retry_delay(self.rounds, jitter)

    def retry_at(self, *, somebody_waits: bool) -> float:
        """When the next attempt is due; in the past while nothing has failed."""
        delay = min(self._delay, LONGEST_WHILE_WAITED_FOR) if somebody_waits else self._delay
        return self._stepped_at + delay

    def allowed(self, wanted: int, now: float, *, opening: int, somebody_waits: bool) -> int:
        """How many of the wanted attempts may start now.

        After a failure there is one probe at a time, each when its backoff is over. Waiters that are to be told at
        once what is wrong are not kept waiting for that.
        """
        if not self.failures or (somebody_waits and not self.riding_out):
            return wanted
        return min(wanted, 1 - opening) if now >= self.retry_at(somebody_waits=somebody_waits) else 0
