"""A program ends while its pool is busy, or drops it: ``python -m tests.drills.leaving CASE POOL URL``."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from typing import Any, Final

from ..pool.helpers import Admin, Task, eventually
from .entrants import NAME, SIZE, fill, turn
from .inside import make, say, threads_of_this_process

WAITERS: Final = 4


def at_exit(name: str, url: str) -> None:
    """The main thread returns: all connections are out in statements, and borrowers stand in line."""
    entrant, admin = make(name, url, timeout=60), Admin(url)
    fill(entrant)
    for _ in range(SIZE + WAITERS):
        Task(turn, entrant, "SELECT pg_sleep(60)")
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event = 'PgSleep'"
    eventually(lambda: admin.rows(asleep, NAME) == [(SIZE,)])
    say(left=time.monotonic())


def dropped(name: str, url: str) -> None:
    """The last reference to the pool goes while a thread still has one of its connections."""
    admin, first = Admin(url), make(name, url, timeout=60)
    fill(first)
    first.close()
    del first
    eventually(lambda: not admin.pids(NAME))  # what is left is the process's, as the one clock of all our pools
    threads = threads_of_this_process()
    pools: list[Any] = [make(name, url, timeout=60)]
    gone = weakref.ref(pools[0].engine.pool if name.startswith("QueuePool") else pools[0].pool)
    fill(pools[0])
    proceed = threading.Event()

    def use(handle: Any, connection: Any) -> None:
        proceed.wait()
        connection.cursor().execute("SELECT 1")

    handle = pools[0].borrow()
    user = threading.Thread(target=use, args=(handle, pools[0].driver_connection(handle)))
    user.start()
    del handle
    pools.clear()
    gc.collect()
    proceed.set()
    user.join()
    del user
    end = time.monotonic() + 10

    def left() -> tuple[int, int, int]:
        gc.collect()
        return len(admin.pids(NAME)), threads_of_this_process() - threads, int(gone() is not None)

    while any(left()) and time.monotonic() < end:
        time.sleep(0.05)
    sessions, more, alive = left()
    say(sessions=sessions, threads=more, pools=alive)


if __name__ == "__main__":
    {"at_exit": at_exit, "dropped": dropped}[sys.argv[1]](*sys.argv[2:])
