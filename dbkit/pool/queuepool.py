"""QueuePool's words for a pool's size, understood, so that changing ``poolclass`` alone is enough."""

from __future__ import annotations

import sys

from dbkit.core.policy import PoolPolicy
from dbkit.errors import Fault, SettingsError

_POOL_SIZE, _MAX_OVERFLOW = 5, 10
"""QueuePool's own defaults."""


def sizes_from_queuepool(
    min_size: int | None, max_size: int, pool_size: int | None, max_overflow: int | None
) -> tuple[int | None, int]:
    """The minimum and the maximum that ``pool_size`` and ``max_overflow`` mean.

    Args:
        min_size, max_size: what was given in our own words, or our defaults.
        pool_size, max_overflow: as given; None for QueuePool's default.

    Raises:
        SettingsError: ``max_size`` was given too, or the numbers make no sense.
    """
    faults = [
        Fault(name, f"must be a whole number, {least} or more", repr(value))
        for name, value, least in (("pool_size", pool_size, 0), ("max_overflow", max_overflow, -1))
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least)
    ]
    if max_size != PoolPolicy.max_size:
        faults.append(Fault("max_size", "give either max_size, or pool_size and max_overflow", repr(max_size)))
    if faults:
        raise SettingsError(faults)
    kept = _POOL_SIZE if pool_size is None else pool_size
    over = _MAX_OVERFLOW if max_overflow is None else max_overflow
    if kept == 0 or over == -1:
        return min_size, sys.maxsize
    return (min(PoolPolicy.min_size, kept) if min_size is None else min_size), kept + over
