"""What the ledger keeps books on, and what it writes down to be done."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from dbkit.core.stats import Histogram

TURNS: Final = 10
"""How many times ``fair_after`` a waiter at the end of a long line may be overtaken; see docs/decisions/fairness.md."""

BREATH: Final = 0.002
"""Seconds until a waiter who was called and overtaken looks again. An idle connection waits for him no longer than
that; calling him for each return instead would cost a thread switch each, for nothing."""


class State(Enum):
    """Where a slot is."""

    OPENING = "opening"
    """A job holds it: its connection is being opened, or checked."""
    IDLE = "idle"
    IN_USE = "in use"
    """Its borrower holds it, or the waiter it was handed to."""
    GONE = "gone"
    """It counts no more. Its connection, if it still has one, is being closed."""


class Slot(Protocol):
    """What the ledger keeps on a slot. All times are ``now`` of some step."""

    state: State
    generation: int
    idle_since: float
    checked_at: float
    borrowed_at: float
    retire_at: float
    retire_why: str
    leak_told: bool
    use_time: Histogram

    def __hash__(self) -> int: ...


class Waiter(Protocol):
    """What the ledger keeps on a borrower standing in line."""

    since: float
    due_at: float
    called: bool
    slot: Any
    error: BaseException | None

    def __hash__(self) -> int: ...


S = TypeVar("S", bound=Slot)
W = TypeVar("W", bound=Waiter)


class Open(NamedTuple, Generic[S]):
    """To do: open a connection for this slot, then ``opened`` or ``open_failed``."""

    slot: S


class Check(NamedTuple, Generic[S]):
    """To do: ping this slot's connection, then ``checked``."""

    slot: S


class Close(NamedTuple, Generic[S]):
    """To do: close this slot's connection. It counts no more already."""

    slot: S
    why: str


def quiet_since(slot: Slot) -> float:
    """When the connection last said something: given back, or answered a ping."""
    return max(slot.idle_since, slot.checked_at)
