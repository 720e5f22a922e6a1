"""When a pool's upkeep is due: the bookkeeping of its alarms.

Pure: no clock, no thread. **Ask first, note afterwards**: an alarm is asked for and then noted. Between the two an
exception from outside may strike; then the clock rings once too often, which is harmless. The other way round it would
never ring again. The clock may ring between the two, too: then the ring is known before it is noted.
"""

from __future__ import annotations

import math


class Alarm:
    """The rings that were asked for and have not come yet. Safe to use from any thread."""

    __slots__ = ("_early", "_pending")

    def __init__(self) -> None:
        self._pending: set[float] = set()
        self._early: set[float] = set()
        """Rings that came before it was noted that they were asked for: the clock may be that quick."""

    def wants(self, due: float) -> bool:
        """Whether the clock must be asked to ring at ``due``: no earlier ring is on its way."""
        return due < min(tuple(self._pending), default=math.inf)

    def asked(self, due: float) -> None:
        """The clock was asked to ring at ``due``."""
        self._pending.add(due)
        self._match(due, self._early)

    def rang(self, due: float) -> None:
        """The ring of ``due`` came."""
        self._early.add(due)
        self._match(due, self._pending)

    def _match(self, due: float, others: set[float]) -> None:
        """Forget a ring that was asked for and came. Each side adds its own first, so one of them sees both."""
        if due in others:
            self._pending.discard(due)
            self._early.discard(due)
