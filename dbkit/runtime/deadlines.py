"""The deadline of what this thread or task does now: one moment for waiting, connecting and statements together."""

from __future__ import annotations

from contextvars import ContextVar
from time import monotonic

from dbkit.core.deadlines import TimeSpent, overlap, spend


class Deadline:
    """A moment, and the account of the time until then.

    It travels in a context variable, so a thread or task has it that runs in a copy of the context. Several threads may
    share one; their times add up.

    Args:
        seconds: from now on.

    Attributes:
        at: the moment, by the monotonic clock.
        seconds: as given.
    """

    __slots__ = ("_began", "_connect_began", "_connect_ended", "_connecting", "_statements", "_waiting", "at", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = monotonic()
        self.at = self._began + seconds
        self._waiting = self._connecting = self._statements = 0.0
        self._connect_began = self._connect_ended = self._began

    def left(self) -> float:
        """Seconds left; 0 or less when it is past."""
        return self.at - monotonic()

    def connecting(self) -> None:
        """A connection attempt for this deadline's borrower begins."""
        self._connect_began, self._connect_ended = monotonic(), float("inf")

    def connected(self) -> None:
        """It ended, well or not."""
        self._connect_ended = monotonic()

    def stood_in_line(self, since: float, until: float) -> None:
        """The borrower waited from ``since`` until ``until``, in part for a connection attempt, perhaps."""
        connecting = overlap(since, until, self._connect_began, self._connect_ended)
        self._connecting += connecting
        self._waiting += until - since - connecting

    def executed(self, seconds: float) -> None:
        """A statement took this long."""
        self._statements += seconds

    def spent(self) -> TimeSpent:
        """Where the time went so far."""
        total = monotonic() - self._began
        return spend(total, waiting=self._waiting, connecting=self._connecting, statements=self._statements)


current: ContextVar[Deadline | None] = ContextVar("dbkit_deadline", default=None)
"""The deadline that holds now; None for no deadline."""
