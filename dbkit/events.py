"""Events of a pool: frozen facts, handed to an ``Observer``.

Counters and histograms are in ``pool.stats()`` and cost nothing more; an observer is for single events: logging them,
tracing them, alerting on them. Every method is called outside the pool's lock, on the thread on which it happened (a
borrower's, or one of the background), so it must be quick and thread-safe. Its exceptions are logged, and that is all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A connection was opened, in so many ``seconds``."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class OpenFailed:
    """A connection attempt failed.

    Attributes:
        error: what the driver raised.
        transient: trying again may help.
        failures: attempts that failed since one last succeeded, this one included.
    """

    error: BaseException
    transient: bool
    failures: int


@dataclass(frozen=True, kw_only=True)
class Closed:
    """A connection was closed; ``why`` is a word of ``PoolStats.closes``."""

    why: str


@dataclass(frozen=True, kw_only=True)
class Waited:
    """A borrower stood in line for so many ``seconds``, and was served."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class NotServed:
    """A borrower got no connection.

    Attributes:
        seconds: how long the borrower stood in line.
        error: the error it got: ``PoolTimeoutError``, ``LineFullError``, ``PoolClosedError``, the driver's error, or
            the interruption.
    """

    seconds: float
    error: BaseException


@dataclass(frozen=True, kw_only=True)
class Leaked:
    """A connection has been out for longer than ``leak_after``. Told once per borrow.

    Attributes:
        thread: the name of the borrowing thread.
        seconds: how long it has been out.
        borrowed_at: where it was borrowed, innermost call first: ``function (file:line)``.
    """

    thread: str
    seconds: float
    borrowed_at: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CameBack:
    """A connection that was reported as leaked was given back after all, after so many ``seconds``."""

    seconds: float


class Observer:
    """Inherit and override what you want to know; everything else does nothing."""

    def opened(self, fact: Opened) -> None:
        """A connection was opened."""

    def open_failed(self, fact: OpenFailed) -> None:
        """A connection attempt failed."""

    def closed(self, fact: Closed) -> None:
        """A connection was closed."""

    def waited(self, fact: Waited) -> None:
        """A borrower was served after standing in line."""

    def not_served(self, fact: NotServed) -> None:
        """A borrower got no connection."""

    def leaked(self, fact: Leaked) -> None:
        """A connection has been out for too long."""

    def came_back(self, fact: CameBack) -> None:
        """A connection reported as leaked was given back."""


class Both(Observer):
    """Tells two observers of everything, one after the other; the second also where the first one fails."""

    def __init__(self, first: Observer, second: Observer) -> None:
        self._first = first
        self._second = second

    def opened(self, fact: Opened) -> None:
        """A connection was opened."""
        self._tell("opened", fact)

    def open_failed(self, fact: OpenFailed) -> None:
        """A connection attempt failed."""
        self._tell("open_failed", fact)

    def closed(self, fact: Closed) -> None:
        """A connection was closed."""
        self._tell("closed", fact)

    def waited(self, fact: Waited) -> None:
        """A borrower was served after standing in line."""
        self._tell("waited", fact)

    def not_served(self, fact: NotServed) -> None:
        """A borrower got no connection."""
        self._tell("not_served", fact)

    def leaked(self, fact: Leaked) -> None:
        """A connection has been out for too long."""
        self._tell("leaked", fact)

    def came_back(self, fact: CameBack) -> None:
        """A connection reported as leaked was given back."""
        self._tell("came_back", fact)

    def _tell(self, what: str, fact: object) -> None:
        try:
            getattr(self._first, what)(fact)
        finally:
            getattr(self._second, what)(fact)
