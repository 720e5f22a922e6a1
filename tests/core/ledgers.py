"""Ledgers without a driver: slots and waiters that are nothing but what the ledger keeps on them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from dbkit.core.ledger import Ledger
from dbkit.core.policy import PoolPolicy
from dbkit.core.stats import Histogram
from dbkit.core.types import Open, State


@dataclass(eq=False)
class Slot:
    """What the driver's record is to the ledger."""

    state: State = State.GONE
    generation: int = 0
    idle_since: float = 0.0
    checked_at: float = 0.0
    borrowed_at: float = 0.0
    retire_at: float = math.inf
    retire_why: str = ""
    leak_told: bool = False
    use_time: Histogram = field(default_factory=Histogram)


@dataclass(eq=False)
class Waiter:
    """What a waiting thread is to the ledger."""

    since: float
    due_at: float = 0.0
    called: bool = False
    slot: Slot | None = None
    error: BaseException | None = None


def book(**numbers: object) -> Ledger[Slot, Waiter]:
    return Ledger(PoolPolicy(**numbers), Slot)  # type: ignore[arg-type]


def todo(ledger: Ledger[Slot, Waiter], kind: type) -> list:
    """Take all there is to do of one kind."""
    found = [action for action in ledger.todo if isinstance(action, kind)]
    for action in found:
        ledger.todo.remove(action)
    return found


def give_back(ledger: Ledger[Slot, Waiter], slot: Slot, now: float) -> None:
    """A return, as a driver does it."""
    if ledger.give_back(slot, now):
        ledger.sort_out(slot, now)


def grow(ledger: Ledger[Slot, Waiter], now: float = 0.0) -> list[Slot]:
    """Let every connect that is due succeed."""
    slots = [action.slot for action in todo(ledger, Open)]
    for slot in slots:
        ledger.opened(slot, now, seconds=0.001, jitter=0.0)
    return slots


def borrowed(ledger: Ledger[Slot, Waiter], count: int, now: float = 0.0) -> list[Slot]:
    """Borrow so many, growing as needed."""
    slots = []
    for _ in range(count):
        slot = ledger.take(now)
        if slot is None:
            waiter = Waiter(now)
            ledger.join(waiter, now)
            grow(ledger, now)
            if waiter.called:
                ledger.look(waiter, now)
            slot = waiter.slot
        assert slot is not None
        slots.append(slot)
    ledger.to_wake.clear()
    return slots
