"""Far more threads than connections: ``python -m tests.drills.crowding CASE POOL URL``."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from ..pool.helpers import eventually
from .inside import end, make, say

SIZE: Final = 20
THREADS: Final = 2000
EACH: Final = 5
MOST: Final = 100
"""``max_waiting``."""


def crowd(name: str, url: str) -> None:
    """All of them borrow a few times, for a moment each."""
    entrant = make(name, url, timeout=120, size=SIZE)
    for handle in [entrant.borrow() for _ in range(SIZE)]:
        entrant.give_back(handle)
    waits: list[float] = []

    def work() -> None:
        for _ in range(EACH):
            began = time.monotonic()
            handle = entrant.borrow()
            waits.append(time.monotonic() - began)
            entrant.give_back(handle)

    run(work)
    say(served=len(waits), longest=max(waits))
    end(entrant, url)


def refused(name: str, url: str) -> None:
    """Nothing is given back, and only so many may stand in line: the others are told at once."""
    entrant = make(name, url, timeout=120, size=SIZE, max_waiting=MOST)
    held = [entrant.borrow() for _ in range(SIZE)]
    told: list[float] = []
    served: list[Any] = []

    def work() -> None:
        began = time.monotonic()
        try:
            handle = entrant.borrow()
        except Exception:
            told.append(time.monotonic() - began)
        else:
            served.append(handle)
            entrant.give_back(handle)

    def free() -> None:
        eventually(lambda: len(told) == THREADS - MOST)
        for handle in held:
            entrant.give_back(handle)

    freeing = threading.Thread(target=free)
    freeing.start()
    run(work)
    freeing.join()
    say(served=len(served), told=len(told), longest=max(told))
    held.clear()
    end(entrant, url)


def run(work: Callable[[], None]) -> None:
    """Have all threads do it, beginning at once."""
    threading.stack_size(256 * 1024)
    gate = threading.Event()

    def wait_and_work() -> None:
        gate.wait()
        work()

    crew = [threading.Thread(target=wait_and_work) for _ in range(THREADS)]
    for thread in crew:
        thread.start()
    gate.set()
    for thread in crew:
        thread.join()


if __name__ == "__main__":
    {"crowd": crowd, "refused": refused}[sys.argv[1]](*sys.argv[2:])
