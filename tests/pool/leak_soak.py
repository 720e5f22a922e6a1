"""Leaks, timeouts and questions after the holders, all at once: ``python -m tests.pool.leak_soak URL SECONDS``.

On CPython 3.11 walking the frames of running threads in such a mix ended the process within 75 s, or stopped it.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import Counter
from typing import Any

import psycopg2

from dbkit import ElasticPool, PoolTimeoutError


def main(url: str, seconds: float) -> None:
    pool = ElasticPool(lambda: psycopg2.connect(url), min_size=0, max_size=4, timeout=0.05, leak_after=0.02)
    end = time.monotonic() + seconds
    did: Counter[str] = Counter()

    def borrow(leaks: bool) -> None:
        while time.monotonic() < end:
            try:
                connection: Any = pool.connect()
            except PoolTimeoutError as error:
                did["timeouts"] += 1
                str(error)
                continue
            did["borrows"] += 1
            if leaks:
                cycle = [connection]
                cycle.append(cycle)  # only the collector finds it
                del cycle, connection
            else:
                time.sleep(0.002)
                connection.close()

    def ask() -> None:
        while time.monotonic() < end:
            did["questions"] += len(str(pool.holders())) > 0
            gc.collect()

    crew = [threading.Thread(target=borrow, args=(n % 3 == 0,)) for n in range(9)]
    crew += [threading.Thread(target=ask) for _ in range(2)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    gc.collect()
    rest = time.monotonic() + 60
    while pool.stats().in_use and time.monotonic() < rest:
        gc.collect()
        time.sleep(0.01)
    stats = pool.stats()
    print(dict(did), "in use", stats.in_use, "size", stats.size)
    assert pool.close() == ()
    assert min(did["timeouts"], did["borrows"], did["questions"]) > 0


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
