"""Ledgers without a driver: slots and waiters that are nothing but what the ledger keeps on them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, settings

from dbkit.core.ledger import Ledger
from dbkit.core.matching import Lasting
from dbkit.core.policy import PoolPolicy
from dbkit.core.reasons import CloseReason
from dbkit.core.stats import Histogram
from dbkit.core.types import Close, Open, State


@dataclass(eq=False)
class Slot:
    """What the driver's record is to the ledger."""

    state: State = State.GONE
    generation: int = 0
    idle_since: float = field(init=False)  # these four are the ledger's to set
    checked_at: float = field(init=False)
    borrowed_at: float = field(init=False)
    retire_at: float = field(init=False)
    leak_told_at: float = -math.inf
    holder: object = None
    use_time: Histogram = field(default_factory=Histogram)


@dataclass(eq=False)
class Waiter:
    """What a waiting thread is to the ledger."""

    since: float
    due_at: float = 0.0
    called: bool = False
    holder: object = None
    context: object = None
    slot: Slot | None = None
    error: BaseException | None = None


Pool = Ledger[Slot, Waiter]

steady = settings(deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
"""For every property: the same examples each time, however slow the machine is."""


def book(*, lasting: Lasting | None = None, **numbers: object) -> Pool:
    """Return a ledger with these numbers."""
    return Ledger(PoolPolicy.of(**numbers), Slot, lasting)


def todo(ledger: Pool, kind: type) -> list:
    """Take all there is to do of one kind."""
    found = [action for action in ledger.todo if isinstance(action, kind)]
    for action in found:
        ledger.todo.remove(action)
    return found


def closed(ledger: Pool) -> list[tuple[Slot, CloseReason]]:
    """Take the connections that are to be closed, each with the reason."""
    return [(action.slot, action.reason) for action in todo(ledger, Close)]


def woken(ledger: Pool) -> list[Waiter]:
    """Wake everybody who is to be woken."""
    found = list(ledger.to_wake)
    ledger.to_wake.clear()
    return found


def queued(ledger: Pool, now: float = 0.0, holder: object = None, *, first: bool = False) -> Waiter:
    """Return a waiter that has joined the line."""
    waiter = Waiter(now, holder=holder)
    ledger.join(waiter, now, first=first)
    return waiter


def give_back(ledger: Pool, slot: Slot, now: float) -> None:
    """A return, as a driver does it."""
    if ledger.give_back(slot, now):
        ledger.sort_out(slot, now)


def grow(ledger: Pool, now: float = 0.0) -> list[Slot]:
    """Let every connection attempt that is due succeed."""
    slots = [action.slot for action in todo(ledger, Open)]
    for slot in slots:
        ledger.opened(slot, now, seconds=0.001, jitter=0.0)
    return slots


def fail(ledger: Pool, now: float, *, began: float | None = None, refused: bool = False) -> list[Slot]:
    """Let every connection attempt that is due fail; by itself it began this very moment."""
    slots = [action.slot for action in todo(ledger, Open)]
    for slot in slots:
        error = PermissionError("refused") if refused else OSError("away")
        ledger.open_failed(slot, error, now, began=now if began is None else began, refused=refused, jitter=0.0)
    return slots


def borrowed(ledger: Pool, count: int, now: float = 0.0, holder: object = None) -> list[Slot]:
    """Borrow so many, growing as needed."""
    slots = []
    for _ in range(count):
        slot = ledger.take(now, holder)
        if slot is None:
            waiter = queued(ledger, now, holder)
            grow(ledger, now)
            if waiter.called:
                ledger.look(waiter, now)
            slot = waiter.slot
        assert slot is not None
        slots.append(slot)
    ledger.to_wake.clear()
    return slots


def resize(ledger: Pool, min_size: int, max_size: int, now: float) -> None:
    """Change the numbers, as a driver does it."""
    ledger.resize(replace(ledger.policy, min_size=min_size, max_size=max_size), now)
