"""Exceptions thrown at random into threads that use a pool: ``python -m tests.drills.throwing POOL URL HITS SECONDS``.

With ours they resize and drain it too, and its upkeep is at work.
"""

from __future__ import annotations

import gc
import logging
import random
import sys
import threading
import time
from typing import Any, Final

from ..pool.every_line import Thrown
from ..pool.helpers import Task, eventually
from ..pool.test_interrupted import throw
from .entrants import Entrant
from .inside import OURS, end, lost, make, say

SIZE: Final = 3
THREADS: Final = 6


def hammer(entrant: Entrant, enough: threading.Event, hits: list[int]) -> None:
    """Borrow and give back, whatever comes."""
    pool: Any = getattr(entrant, "pool", None)
    while not enough.is_set():
        try:
            while not enough.is_set():
                number = random.randrange(400)
                if entrant.name == OURS and number < 2:
                    (pool.drain if number else lambda: pool.resize(max_size=random.randint(2, SIZE)))()
                entrant.give_back(entrant.borrow())
        except Thrown:
            hits[0] += 1
        except Exception:  # a timeout where slots are lost; a driver's error about what was cut off
            hits[1] += 1


def main(name: str, url: str, most: str, seconds: str) -> None:
    gc.freeze()
    sys.unraisablehook = lambda _: None
    logging.root.addHandler(logging.NullHandler())  # any other has a lock, which a thrown exception may leave locked
    options: dict[str, Any] = {"max_idle": 0.2, "max_lifetime": 1.0, "keepalive": 0.1} if name == OURS else {}
    entrant: Any = make(name, url, timeout=2, size=SIZE, **options)
    enough, hits = threading.Event(), [0, 0]

    def guarded() -> None:
        while not enough.is_set():
            try:
                hammer(entrant, enough, hits)
            except Thrown:
                hits[0] += 1

    tasks = [Task(guarded) for _ in range(THREADS)]
    dice, end_at = random.Random(7), time.monotonic() + float(seconds)
    while hits[0] < int(most) and time.monotonic() < end_at:
        throw(dice.choice(tasks), Thrown)
        for _ in range(dice.randrange(2000)):
            pass
    enough.set()
    for task in tasks:
        task.join(60)
    del task
    tasks.clear()
    gc.collect()
    if name == OURS:
        entrant.pool.resize(max_size=SIZE)
        eventually(lambda: (gc.collect(), entrant.pool.stats().in_use == 0)[1])
    say(hits=hits[0], others=hits[1], lost=lost(entrant, SIZE))
    if name == OURS:  # upkeep survived: what is too old goes, and the minimum is kept
        opens = entrant.pool.stats().opens
        eventually(lambda: entrant.pool.stats().opens > opens and entrant.pool.stats().idle == SIZE)
        end(entrant, url)


if __name__ == "__main__":
    main(*sys.argv[1:])
