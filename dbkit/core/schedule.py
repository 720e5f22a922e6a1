"""When a pool's upkeep is due: the bookkeeping of its alarms.

Pure: no clock, no thread. **Ask first, note afterwards**: an alarm is asked for and then noted. Between the two an
exception from outside may strike; then the clock rings once too often, which is harmless. The other way round it would
never ring again. The clock may ring between the two, too: so a ring is on its way only if none for a later moment came.
"""

from __future__ import annotations

import math


class Alarm:
    """The rings that were asked for and have not come yet. Safe to use from any thread; the rings come on one."""

    __slots__ = ("_noted", "_rung")

    def __init__(self) -> None:
        self._noted: set[float] = set()
        self._rung = -math.inf
        """The latest ring that came: one that is noted for no later moment came before, or comes at once."""

    def wants(self, due: float) -> bool:
        """Whether the clock must be asked to ring at ``due``: no earlier ring is on its way."""
        return due < min((one for one in tuple(self._noted) if one > self._rung), default=math.inf)

    def asked(self, due: float) -> None:
        """The clock was asked to ring at ``due``."""
        self._noted.add(due)

    def rang(self, due: float) -> None:
        """The ring of ``due`` came."""
        self._rung = max(self._rung, due)
        self._noted.difference_update([one for one in tuple(self._noted) if one <= self._rung])
