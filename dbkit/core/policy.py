"""The pool's numbers, checked once and then frozen.

A bad number is refused with its name and the reason, never repaired.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dbkit.errors import Fault, SettingsError


@dataclass(frozen=True, kw_only=True)
class PoolPolicy:
    """What the pool may do, in numbers. All times are seconds.

    Attributes:
        min_size: connections kept open once the pool has been used. Default 2; see ``of``.
        max_size: connections there may be at most, those being opened included. Default 10.
        timeout: how long a borrower waits in all: queueing, connecting and checking together. Default 30.
        max_waiting: borrowers who may stand in line with nothing being opened for them; one more is refused
            at once with ``LineFullError``. None for no limit, the default.
        max_idle: a connection above ``min_size`` that lay idle this long is closed; None keeps it. Default 300.
        max_lifetime: a connection this old is replaced when it is next idle, up to 10 % earlier so that
            connections opened together do not retire together; None for no limit. Default 3600.
        keepalive: a connection that lay idle this long is pinged in the background, so that a silently cut
            network is noticed before a borrower pays for it; None never pings. Default 120.
        reconnect_timeout: once the pool has worked, borrowers ride out an outage that may pass (server restarting,
            connection refused, too many connections) for this long, each within his own ``timeout``; beyond it,
            and with 0 always, they get the driver's error at once. Default 300.
        fair_after: newcomers may overtake the borrower at the front until he has waited this long for each turn that
            the line before him took anyway; from then on connections are handed over strictly in order. 0 is strict
            at all times. Default 0.005.
        leak_after: a connection that has been out for this long is reported once, with where it was borrowed, and
            again when it comes back after all; None reports nothing, the default. Costs some microseconds a borrow.

    Raises:
        SettingsError: naming every number that is wrong.
    """

    min_size: int = 2
    max_size: int = 10
    timeout: float = 30.0
    max_waiting: int | None = None
    max_idle: float | None = 300.0
    max_lifetime: float | None = 3600.0
    keepalive: float | None = 120.0
    reconnect_timeout: float = 300.0
    fair_after: float = 0.005
    leak_after: float | None = None

    @classmethod
    def of(cls, **numbers: Any) -> PoolPolicy:
        """The policy with these numbers, defaults for the others; the default minimum is never above the maximum."""
        if "min_size" not in numbers and not find_faults(numbers):
            numbers["min_size"] = min(cls.min_size, numbers.get("max_size", cls.max_size))
        return cls(**numbers)

    def __post_init__(self) -> None:
        faults = find_faults({field.name: getattr(self, field.name) for field in fields(self)})
        if faults:
            raise SettingsError(faults)


COUNTS = frozenset({"min_size", "max_size", "max_waiting"})
"""Settings that are whole numbers; the others are seconds."""

OPTIONAL = frozenset({"max_waiting", "max_idle", "max_lifetime", "keepalive", "leak_after"})
"""Settings that may be None: no limit."""

NAMES = tuple(field.name for field in fields(PoolPolicy))
"""Every setting of the pool, in the order of ``PoolPolicy``."""


def find_faults(values: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> list[Fault]:
    """Everything wrong with the pool's numbers, each with its origin.

    Args:
        values: settings by name, of their proper types; those missing have their defaults.
        origins: where each value came from, by name; ``argument`` where it does not say.
    """
    origins = origins or {}
    faults = []

    def fault(name: str, reason: str) -> None:
        faults.append(Fault(name, reason, repr(values[name]), origins.get(name, "argument")))

    for name in NAMES:
        if name not in values:
            continue
        value = values[name]
        if value is None and name in OPTIONAL:
            continue
        if name in COUNTS:
            least = 1 if name == "max_size" else 0
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                fault(
                    name,
                    f"must be a whole number, {least} or more" + (", or None for no limit" if name in OPTIONAL else ""),
                )
        elif not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            fault(name, "must be a number of seconds" + (", or None for no limit" if name in OPTIONAL else ""))
        elif value < 0 or (value == 0 and name in OPTIONAL):
            fault(
                name,
                "must be " + ("above 0 seconds, or None for no limit" if name in OPTIONAL else "0 seconds or more"),
            )
    least, most = values.get("min_size", 0), values.get("max_size", PoolPolicy.max_size)
    if not faults and least > most:
        fault("min_size", f"min_size ({least}) is above max_size ({most})")
    return faults
