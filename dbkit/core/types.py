"""The facts that the ledger keeps, and the work that it writes down for the driver."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar

from dbkit.errors import DbkitError

if TYPE_CHECKING:
    from dbkit.core.reasons import CloseReason
    from dbkit.core.stats import Histogram

TURNS: Final = 10
"""A waiter at the end of a long line may be overtaken for this many times ``fair_after``; see
docs/decisions/fairness.md."""

BREATH: Final = 0.002
"""Seconds until a waiter that was called and overtaken looks again. An idle connection lies there for no longer than
that; a call for each return instead would cost a thread switch each, for nothing."""

TIGHT: Final = 0.001
"""Seconds. A borrower that stands in line this soon after its own return runs a tight loop: it would have overtaken."""

OVERTAKING: Final = 0.05
"""Seconds for which connections are left for newcomers to overtake, after the last sign that newcomers do so."""


class State(Enum):
    """Where a slot is."""

    OPENING = "opening"
    """A job holds it: its connection is being opened, or checked."""
    IDLE = "idle"
    IN_USE = "in use"
    """Its borrower holds it, or the waiter that it was handed to."""
    GONE = "gone"
    """It counts no more. Its connection, if it still has one, is being closed."""


class Watch(Enum):
    """The moment that somebody beside the line waits for."""

    WARM = "the minimum is open"
    ALL_BACK = "no connection is in use"
    ALL_CLOSED = "no connection is left"


class Refusal(Enum):
    """Why a borrower is turned away."""

    CLOSED = "the pool is closed for good"
    LINE_FULL = "max_waiting borrowers already stand in line"


class Refused(DbkitError):  # noqa: N818 - what became of a borrower, not a fault
    """The ledger turns a borrower away; the driver raises SQLAlchemy's flavour of it."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


class Slot(Protocol):
    """The ledger's notes on a slot. All times are ``now`` of some step.

    Attributes:
        generation: the ledger's at the time the connection was opened; its complement (``~``, negative) once the
            connection was invalidated by itself.
        holder: the borrower it was last handed to, as that introduced itself.
        idle_since: when it was last given back.
        checked_at: when it last answered a check.
        borrowed_at: when it was last lent.
        retire_at: when it is too old. Age is all that this says.
        leak_told_at: ``borrowed_at`` of the borrow that was reported as a leak, if any.
        use_time: how long its borrows took.
    """

    state: State
    generation: int
    holder: Any
    idle_since: float
    checked_at: float
    borrowed_at: float
    retire_at: float
    leak_told_at: float
    use_time: Histogram

    def __hash__(self) -> int: ...


class Waiter(Protocol):
    """The ledger's notes on a borrower standing in line, or on somebody who watches.

    Attributes:
        since: when it came.
        due_at: until then newcomers may overtake it.
        called: it was told to come and look.
        holder: as whom it borrows.
        context: what a connection attempt on its behalf runs in; opaque.
        slot, error: its outcome.
    """

    since: float
    due_at: float
    called: bool
    holder: Any
    context: Any
    slot: Any
    error: BaseException | None

    def __hash__(self) -> int: ...


S = TypeVar("S", bound=Slot)
W = TypeVar("W", bound=Waiter)


class Open(NamedTuple, Generic[S]):
    """To do: open a connection for this slot, then ``opened`` or ``open_failed``.

    ``context`` is that of the waiter it is for; None where it is for nobody in line.
    """

    slot: S
    context: Any


class Check(NamedTuple, Generic[S]):
    """To do: ping this slot's connection, then ``checked``."""

    slot: S


class Close(NamedTuple, Generic[S]):
    """To do: close this slot's connection. It counts no more already."""

    slot: S
    reason: CloseReason


def quiet_since(slot: Slot) -> float:
    """When the connection last said something: given back, or answered a check."""
    return max(slot.idle_since, slot.checked_at)


def opened_in(slot: Slot) -> int:
    """The generation in which the slot's connection was opened, also if it was invalidated since."""
    return slot.generation if slot.generation >= 0 else ~slot.generation
