"""The deadline of what this thread or task does now: one moment for waiting, connecting and statements together."""

from __future__ import annotations

from contextvars import ContextVar
from time import monotonic

from dbkit.core.deadlines import TimeSpent, grace, overlap, spend
from dbkit.runtime.who import who


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

    __slots__ = (
        "_began",
        "_connect_began",
        "_connect_ended",
        "_connecting",
        "_sent",
        "_statements",
        "_waiting",
        "at",
        "seconds",
    )

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = monotonic()
        self.at = self._began + seconds
        self._waiting = self._connecting = self._statements = 0.0
        self._connect_began = self._connect_ended = self._began
        self._sent: dict[int, float] = {}
        """By thread or task: since when a statement is under way."""

    def left(self) -> float:
        """Seconds left; 0 or less when it is past."""
        return self.at - monotonic()

    def give_up_at(self) -> float:
        """The moment at which a server that was told of the deadline, and says nothing, is given up."""
        return self.at + grace(self.seconds)

    def connecting(self) -> None:
        """A connection attempt for this deadline's borrower begins."""
        self._connect_began, self._connect_ended = monotonic(), float("inf")

    def connected(self) -> None:
        """It ended, well or not."""
        self._connect_ended = monotonic()

    def stood_in_line(self, since: float, until: float) -> None:
        """The borrower waited from ``since`` until ``until``, in part for a connection attempt, perhaps."""
        waiting, connecting = self._in_line(since, until)
        self._waiting += waiting
        self._connecting += connecting

    def _in_line(self, since: float, until: float) -> tuple[float, float]:
        connecting = overlap(since, until, self._connect_began, self._connect_ended)
        return until - since - connecting, connecting

    def sending(self) -> bool:
        """This thread or task sends a statement now. False if it is in the midst of one."""
        me = who()
        if me in self._sent:
            return False
        self._sent[me] = monotonic()
        return True

    def answered(self) -> None:
        """The statement of this thread or task is over, well or not."""
        sent = self._sent.pop(who(), None)
        if sent is not None:
            self._statements += monotonic() - sent

    def spent(self, *, in_line_since: float | None = None) -> TimeSpent:
        """Where the time went so far.

        Args:
            in_line_since: since when the borrower that asks stands in line; None if it does not.
        """
        now = monotonic()
        waiting, connecting = (0.0, 0.0) if in_line_since is None else self._in_line(in_line_since, now)
        return spend(
            now - self._began,
            waiting=self._waiting + waiting,
            connecting=self._connecting + connecting,
            statements=self._statements,
        )


current: ContextVar[Deadline | None] = ContextVar("dbkit_deadline", default=None)
"""The deadline that holds now; None for no deadline."""
