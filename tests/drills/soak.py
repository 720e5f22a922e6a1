"""All of it mixed, for long, and what it left behind: ``python -m tests.drills.soak URL SECONDS [planted]``.

It runs in parts, and is measured at rest after each. What the first parts leave is warmth (caches, arenas); what the
later ones add is a leak. ``planted`` leaks something of each kind on purpose: so it is seen that the figures can fail.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from dbkit import DatabaseConnectionManager, PoolTimeoutError

from ..pool.helpers import Admin
from . import closing
from .entrants import NAME
from .inside import threads_of_this_process

PARTS: Final = 6
WARM: Final = 2
"""Parts that count as warming up."""

THREADS: Final = 10
NUMBERS: Final[dict[str, Any]] = {
    "min_size": 1, "max_size": 6, "timeout": 0.5, "max_idle": 1.0, "max_lifetime": 3.0, "keepalive": 0.5,
    "leak_after": 0.2,
}  # fmt: skip

Work = Callable[[DatabaseConnectionManager], Any]


def query(db: DatabaseConnectionManager) -> None:
    db.execute_query("SELECT 1")


def session(db: DatabaseConnectionManager) -> None:
    with db.session_scope() as opened:
        opened.execute(text("SELECT 1"))


def leaked_in_a_cycle(db: DatabaseConnectionManager) -> None:
    cycle: list[Any] = [db.pool.connect()]
    cycle.append(cycle)


def kept_by_a_thread_that_ends(db: DatabaseConnectionManager) -> None:
    kept = threading.local()
    dying = threading.Thread(target=lambda: setattr(kept, "connection", db.pool.connect()))
    dying.start()
    dying.join()


def abandoned_stream(db: DatabaseConnectionManager) -> None:
    next(db.stream_query("SELECT generate_series(1, 100)", chunk=10))


def deadline(db: DatabaseConnectionManager) -> None:
    with db.deadline(0.05):
        db.execute_query("SELECT pg_sleep(1)")


def kill_one(db: DatabaseConnectionManager) -> None:
    db.execute_query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        f"AND application_name = '{NAME}' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
    )


def fork(_: DatabaseConnectionManager) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


MIX: Final[dict[Work, int]] = {
    query: 60,
    session: 40,
    abandoned_stream: 10,
    leaked_in_a_cycle: 3,
    kept_by_a_thread_that_ends: 3,
    deadline: 3,
    lambda db: db.pool.resize(max_size=random.randint(2, 6)): 2,
    lambda db: db.pool.holders(): 2,
    lambda _: gc.collect(): 2,
    lambda db: db.pool.drain(): 1,
    kill_one: 1,
    fork: 1,
}
"""What is done, and how often beside the others."""


def part(db: DatabaseConnectionManager, seconds: float, did: Counter[str]) -> None:
    """Do all of it at once, for so long."""
    end = time.monotonic() + seconds

    def run() -> None:
        while time.monotonic() < end:
            [work] = random.choices(list(MIX), list(MIX.values()))
            try:
                work(db)
                did["done"] += 1
            except PoolTimeoutError:
                did["timeouts"] += 1
            except Exception as error:
                did[type(error).__name__] += 1

    crew = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()


def least(count: Callable[[], int]) -> int:
    """The smallest of several counts: upkeep comes and goes, and what leaks is there each time."""
    counts = []
    for _ in range(20):
        counts.append(count())
        time.sleep(0.01)
    return min(counts)


def measured() -> dict[str, int]:
    """What this process holds: memory in kB, threads, descriptors, objects."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory": pages * resource.getpagesize() // 1024,
        "threads": least(threads_of_this_process),
        "descriptors": least(lambda: sum(1 for _ in Path("/proc/self/fd").iterdir())),
        "objects": len(gc.get_objects()),
    }


def leak(kept: list[Any]) -> None:
    """Something of each kind, kept for good: so many that no bound is wide enough."""
    kept += [b"x" * 1_000_000 for _ in range(10)]
    kept += [[number] for number in range(2000)]
    kept += [os.pipe() for _ in range(10)]
    for _ in range(5):
        threading.Thread(target=threading.Event().wait, daemon=True).start()


def main(url: str, seconds: float, *, planted: bool) -> None:
    db, admin = DatabaseConnectionManager(url, **NUMBERS), Admin(url.partition("?")[0])
    did: Counter[str] = Counter()
    seen: list[dict[str, int]] = []
    kept: list[Any] = []
    for _ in range(PARTS):
        part(db, seconds / PARTS, did)
        if planted:
            leak(kept)
        gc.collect()
        closing.check(db.pool, execute=admin.rows)
        seen.append(measured())
        print(len(seen), seen[-1], flush=True)
    for name, before in seen[WARM - 1].items():
        print(name, "more", seen[-1][name] - before)
    print(*(f"{what} {count}" for what, count in did.most_common()), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), planted=sys.argv[3:] == ["planted"])
