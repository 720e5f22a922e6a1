"""Connections that nobody gives back: ``python -m tests.drills.leaking POOL URL``."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from ..pool.helpers import Task
from .entrants import SIZE, Entrant, fill
from .inside import end, lost, make, say

ROUNDS: Final = 5


def in_a_cycle(entrant: Entrant) -> None:
    cycle: list[Any] = [entrant.borrow()]
    cycle.append(cycle)


def by_a_thread_that_ends(entrant: Entrant) -> None:
    kept = threading.local()
    Task(lambda: setattr(kept, "handle", entrant.borrow())).outcome()


def by_a_generator_left_standing(entrant: Entrant) -> None:
    def rows() -> Iterator[Any]:
        handle = entrant.borrow()
        yield from entrant.execute(handle, "SELECT generate_series(1, 9)")
        entrant.give_back(handle)

    next(rows())


def in_a_storm(entrant: Entrant) -> None:
    """Many at once, while the collector runs all the time."""
    thresholds = gc.get_threshold()
    gc.set_threshold(5, 5, 5)
    try:
        for task in [Task(lambda: [in_a_cycle(entrant) for _ in range(50)]) for _ in range(4)]:
            task.outcome()
    finally:
        gc.set_threshold(*thresholds)


WAYS: Final[dict[str, Callable[[Entrant], None]]] = {
    "cycle": in_a_cycle,
    "thread": by_a_thread_that_ends,
    "generator": by_a_generator_left_standing,
    "storm": in_a_storm,
}


def main(name: str, url: str) -> None:
    gc.freeze()  # modules are no rubbish: without them the collector comes round the more often
    for way, leak in WAYS.items():
        entrant = make(name, url, timeout=5)
        fill(entrant)
        try:
            for _ in range(1 if leak is in_a_storm else ROUNDS * SIZE):
                leak(entrant)
        except Exception:  # nothing is left: the figure tells
            pass
        say(**{way: lost(entrant, SIZE)})
        end(entrant, url)


if __name__ == "__main__":
    main(*sys.argv[1:])
