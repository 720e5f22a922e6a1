"""Ctrl-C in the main thread: ``python -m tests.drills.pressing CASE POOL URL [INI]``. Says how long it takes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from .entrants import SIZE, Entrant, turn
from .inside import end, make, say

BEFORE: Final = 1.0
"""Seconds it has been at it when Ctrl-C is pressed."""

BOUND: Final = 9.0
"""Seconds until we go, whatever it does."""


def waiting(entrant: Entrant) -> Callable[[], None]:
    """In line: all connections are out."""
    held = [entrant.borrow() for _ in range(SIZE)]

    def act() -> None:
        try:
            entrant.borrow()
        finally:
            for handle in held:
                entrant.give_back(handle)

    return act


def hole(entrant: Entrant) -> Callable[[], None]:
    """Connecting to a server that says nothing."""
    return lambda: turn(entrant)


def query(entrant: Entrant) -> Callable[[], None]:
    """In a long statement."""
    turn(entrant)
    return lambda: turn(entrant, "SELECT pg_sleep(8)")


def migration(entrant: Any) -> Callable[[], None]:
    """In a long statement of a migration."""
    entrant.db.execute_query("SELECT 1")
    return lambda: entrant.db.migrate(config=sys.argv[4])


CASES: Final[dict[str, Callable[[Any], Callable[[], None]]]] = {
    "waiting": waiting, "hole": hole, "query": query, "migration": migration,
}  # fmt: skip


def main(case: str, name: str, url: str) -> None:
    pressed: list[float] = []

    def press() -> None:
        time.sleep(BEFORE)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(BOUND)
        say(told=BOUND)
        os._exit(0)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    entrant = make(name, url, timeout=60)
    act = CASES[case](entrant)
    try:
        threading.Thread(target=press, daemon=True).start()
        act()
    except KeyboardInterrupt:
        say(told=time.monotonic() - pressed[0])
    if case == "hole":
        os._exit(0)  # what is under way in there may take its time
    end(entrant, url)


if __name__ == "__main__":
    main(*sys.argv[1:4])
