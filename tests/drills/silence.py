"""What happens in drill 5: a network falls silent while a pool connects, while it is idle, in the middle of a query."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from dbkit.embedded import EmbeddedPostgres

from ..pool.helpers import Task, eventually
from .entrants import Entrant, fill, turn

SLEEPS: Final = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"

Turn = Callable[[Entrant, str], None]


class Network(Protocol):
    """The way between a pool and its server."""

    def fall_silent(self) -> None:
        """From now on nothing arrives, and nobody is told."""

    def heal(self) -> None:
        """It is as before."""


def connecting(
    make: Callable[[], Entrant], server: EmbeddedPostgres, network: Network, ask: Turn
) -> tuple[Entrant, Task]:
    """Nothing is open yet, and every attempt vanishes."""
    network.fall_silent()
    entrant = make()
    return entrant, Task(ask, entrant, "SELECT 1")


def idle(make: Callable[[], Entrant], server: EmbeddedPostgres, network: Network, ask: Turn) -> tuple[Entrant, Task]:
    """A statement is sent on a connection that was idle when the network went."""
    entrant = make()
    fill(entrant)
    network.fall_silent()
    return entrant, Task(ask, entrant, "SELECT 1")


def query(make: Callable[[], Entrant], server: EmbeddedPostgres, network: Network, ask: Turn) -> tuple[Entrant, Task]:
    """The server has acknowledged a statement, and works on it."""
    entrant = make()
    fill(entrant)
    task = Task(ask, entrant, "SELECT pg_sleep(600)")
    eventually(lambda: server.execute(SLEEPS) == [(1,)])
    network.fall_silent()
    return entrant, task


CASES: Final = {"connecting": connecting, "idle": idle, "query": query}


def run(
    case: str,
    make: Callable[[], Entrant],
    server: EmbeddedPostgres,
    network: Network,
    bound: float,
    ask: Turn = turn,
) -> tuple[Entrant, dict[str, float | str]]:
    """Have a network fall silent, and heal. Returns the pool and its figures.

    Args:
        case: when it falls silent.
        make: makes the pool.
        server: behind the network; asked by another way.
        network: that one.
        bound: seconds after which a pool counts as one that does not notice.
        ask: how the pool is used: for one turn with a statement.
    """
    entrant, task = CASES[case](make, server, network, ask)
    figures = {"told after, s": _seconds_until_told(task, bound)}
    network.heal()
    figures["healed after, s"] = _healed(entrant, bound)
    return entrant, figures


def _seconds_until_told(task: Task, bound: float) -> float | str:
    began = monotonic()
    task.join(bound)
    if task.is_alive():
        return f"over {bound:g}"
    assert task.error is not None, "it should have failed"
    return monotonic() - began


def _healed(entrant: Entrant, bound: float) -> float | str:
    """How long it takes until the pool serves again; or that it does not within the bound."""
    began = monotonic()

    def serves() -> bool:
        try:
            turn(entrant)
        except Exception:
            return False
        return True

    task = Task(eventually, serves, bound)
    task.join(bound)
    return monotonic() - began if task.result else f"over {bound:g}"
