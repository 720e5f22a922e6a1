"""A clock that a test sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isfinite


class FakeClock:
    """Stands in for ``time.monotonic``, ``time.time``, ``time.sleep`` and ``datetime.now``; time passes when told to.

    ::

        clock = FakeClock()
        cache = Cache(ttl=60, clock=clock)  # calls clock()
        clock.advance(61)

    Belongs to one thread.

    Args:
        start: the moment it shows at first, with its time zone; the first of January 2030 if None.
    """

    def __init__(self, start: datetime | None = None) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError("start has no time zone: give datetime(..., tzinfo=UTC)")
        self._start = datetime(2030, 1, 1, tzinfo=UTC) if start is None else start
        self._passed = 0.0

    def __call__(self) -> float:
        """Seconds since the clock was made, as ``time.monotonic`` counts them since some moment."""
        return self._passed

    def time(self) -> float:
        """Seconds since the epoch, as ``time.time``."""
        return self._start.timestamp() + self._passed

    def now(self) -> datetime:
        """The moment, in the time zone of the start."""
        return self._start + timedelta(seconds=self._passed)

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Args:
            seconds: 0 or more; a monotonic clock does not step back.

        Raises:
            ValueError: it would step back.
        """
        if not (isfinite(seconds) and seconds >= 0):
            raise ValueError(f"advance({seconds!r}): must be a number of seconds, 0 or more")
        self._passed += seconds

    sleep = advance
