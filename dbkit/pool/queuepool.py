"""QueuePool's words for a pool's size, understood, so that changing ``poolclass`` alone is enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dbkit.core.policy import UNLIMITED, PoolPolicy, read_number
from dbkit.errors import Fault, SettingsError

_POOL_SIZE, _MAX_OVERFLOW = 5, 10
"""QueuePool's own defaults."""


def policy_of(numbers: dict[str, Any], pool_size: object, max_overflow: object, recycle: object) -> PoolPolicy:
    """The policy that the arguments of a pool mean; text among them is read as a setting is.

    Raises:
        SettingsError: naming every one that is wrong.
    """
    numbers = {name: read_number(name, value) if isinstance(value, str) else value for name, value in numbers.items()}
    if pool_size is not None or max_overflow is not None:
        numbers |= sizes_from_queuepool(numbers, pool_size, max_overflow)
    if isinstance(recycle, int | float) and recycle > 0:
        lifetime = numbers["max_lifetime"]
        numbers["max_lifetime"] = recycle if lifetime is None else min(recycle, lifetime)
    return PoolPolicy.of(**numbers)


def sizes_from_queuepool(sizes: Mapping[str, object], pool_size: object, max_overflow: object) -> dict[str, int]:
    """The minimum and the maximum that ``pool_size`` and ``max_overflow`` mean.

    Args:
        sizes: ``min_size`` and ``max_size``, as far as they were given too.
        pool_size, max_overflow: as given; None for QueuePool's default.

    Raises:
        SettingsError: ``max_size`` was given too, or the numbers make no sense.
    """
    kept = _POOL_SIZE if pool_size is None else pool_size
    over = _MAX_OVERFLOW if max_overflow is None else max_overflow
    faults = [
        Fault(name, f"must be a whole number, {least} or more", repr(value))
        for name, value, least in (("pool_size", kept, 0), ("max_overflow", over, -1))
        if not isinstance(value, int) or isinstance(value, bool) or value < least
    ]
    if "max_size" in sizes:
        faults.append(Fault("max_size", "give either max_size, or pool_size and max_overflow", repr(sizes["max_size"])))
    if faults or not isinstance(kept, int) or not isinstance(over, int):
        raise SettingsError(faults)
    if kept == 0 or over == -1:
        return {"max_size": UNLIMITED}
    found = {"max_size": kept + over}
    if "min_size" not in sizes:
        found["min_size"] = min(PoolPolicy.min_size, kept)
    return found
