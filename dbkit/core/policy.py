"""The pool's numbers: read, checked once, then frozen.

A bad number is refused with its name and the reason, never repaired.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypedDict

from dbkit.errors import Fault, SettingsError

UNLIMITED: Final = sys.maxsize
"""The ``max_size`` of a pool without a maximum: a number that no pool reaches, so that arithmetic goes on working."""

LONGEST: Final = 1_000_000_000
"""The most seconds (31 years) that a setting may ask for: more overflows in the operating system's timers."""


class PoolNumbers(TypedDict, total=False):
    """The fields of ``PoolPolicy`` as keyword arguments, each of which may be left out."""

    min_size: int
    max_size: int
    timeout: float
    max_waiting: int | None
    max_idle: float | None
    max_lifetime: float | None
    keepalive: float | None
    reconnect_timeout: float
    fair_after: float
    leak_after: float | None


@dataclass(frozen=True, kw_only=True)
class PoolPolicy:
    """The pool's numbers. All times are seconds.

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
            connection refused, too many connections) for this long, each within its own ``timeout``; beyond it,
            and with 0 always, they get the driver's error at once. Default 300.
        fair_after: newcomers may overtake the waiter at the front until it has waited this long for each turn that
            the line before it took anyway; from then on connections are handed over strictly in order. 0 is strict
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
        """The policy with these numbers, defaults for the others; the default minimum is never above the maximum.

        Args:
            numbers: by name; text is read as ``read_number`` does.

        Raises:
            SettingsError: naming every number that is wrong.
        """
        numbers = {name: read_number(name, value) for name, value in numbers.items()}
        if "min_size" not in numbers and not find_faults(numbers):
            numbers["min_size"] = min(cls.min_size, numbers.get("max_size", cls.max_size))
        return cls(**numbers)

    def __post_init__(self) -> None:
        faults = find_faults({field.name: getattr(self, field.name) for field in fields(self)})
        if faults:
            raise SettingsError(faults)


COUNTS: Final = frozenset({"min_size", "max_size", "max_waiting"})
"""Settings that are whole numbers; the others are seconds."""

OPTIONAL: Final = frozenset({"max_waiting", "max_idle", "max_lifetime", "keepalive", "leak_after"})
"""Settings that may be None: no limit."""

NAMES: Final = tuple(field.name for field in fields(PoolPolicy))
"""Every setting of the pool, in the order of ``PoolPolicy``."""


# Reading text


_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

NEITHER_TRUE_NOR_FALSE: Final = "must be true or false (or 1 and 0, yes and no, on and off)"


def read_number(name: str, value: object) -> Any:
    """The number that a text spells, for a setting of the pool: ``"3"``, ``"2.5"``; ``"none"`` where that is allowed.

    Text that spells no number is returned as it is, and so is what is not text: ``PoolPolicy`` and ``find_faults``
    refuse it, together with all else that is wrong.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if name in OPTIONAL and text.lower() == "none":
        return None
    if name in COUNTS:
        return value if (whole := read_whole(text)) is None else whole
    return float(text) if _REAL.fullmatch(text) else value


def read_whole(value: object) -> int | None:
    """A whole number, given as one or spelled by a text; None for anything else, a bool included."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value.strip()) else None


def truth(value: object) -> bool | None:
    """True or false, as a text, a number or a bool says it; None where it says neither."""
    return _WORDS.get(str(value).strip().lower()) if isinstance(value, str | int) else None


def read_flag(name: str, value: object) -> bool:
    """A setting that is true or false, also as text: ``true``, ``yes``, ``on``, ``1``, or their opposites.

    Raises:
        SettingsError: it says neither.
    """
    flag = truth(value)
    if flag is None:
        raise SettingsError([Fault(name, NEITHER_TRUE_NOR_FALSE, repr(value))])
    return flag


# Checking


def find_faults(values: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> list[Fault]:
    """Everything wrong with the pool's numbers, each with its origin.

    Args:
        values: settings by name, of their proper types; those missing have their defaults.
        origins: where each value came from, by name; ``argument`` where it does not say.
    """
    origins = origins or {}
    faults = []

    def refuse(name: str, reason: str) -> None:
        faults.append(Fault(name, reason, repr(values[name]), origins.get(name, "argument")))

    for name in NAMES:
        flaw = _flaw(name, values[name]) if name in values else None
        if flaw is not None:
            refuse(name, flaw)
    least, most = values.get("min_size", 0), values.get("max_size", PoolPolicy.max_size)
    if not faults and least > most:
        refuse("min_size", f"min_size ({least}) is above max_size ({most})")
    return faults


def check_seconds(name: str, value: object) -> list[Fault]:
    """The faults of a time to wait, in seconds, given to a call: none if it is a finite number, 0 or more.

    Args:
        name: what the caller calls it, for the message.
        value: as given. None is refused; a call that takes None asks before.
    """
    flaw = _flaw_of_seconds(value)
    return [] if flaw is None else [Fault(name, flaw, repr(value))]


def show_size(size: int) -> str:
    """A pool's size for people: ``no limit`` for ``UNLIMITED``."""
    return "no limit" if size >= UNLIMITED else str(size)


def _flaw(name: str, value: object) -> str | None:
    """Why one number is refused, as a clause; None if it is good."""
    optional = name in OPTIONAL
    if optional and value is None:
        return None
    if name in COUNTS:
        flaw = _flaw_of_count(value, least=1 if name == "max_size" else 0)
    else:
        flaw = _flaw_of_seconds(value, above_zero=optional)
    return f"{flaw}, or None for no limit" if flaw and optional else flaw


def _flaw_of_count(value: object, *, least: int) -> str | None:
    good = isinstance(value, int) and not isinstance(value, bool) and value >= least
    return None if good else f"must be a whole number, {least} or more"


def _flaw_of_seconds(value: object, *, above_zero: bool = False) -> str | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:  # noqa: PLR0124 - NaN
        return "must be a number of seconds"
    if value < 0 or (above_zero and value == 0):
        return "must be above 0 seconds" if above_zero else "must be 0 seconds or more"
    return "must be a finite number of seconds, 31 years at most" if value > LONGEST else None
