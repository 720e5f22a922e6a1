"""Measures one pool under one load: threads that execute a statement as fast as they can, for a bounded time."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from dbkit.cli.bench.points import Point, wait_quantile
from dbkit.manager import DatabaseConnectionManager

if TYPE_CHECKING:
    from dbkit.settings import DatabaseSettings

READ_ONLY: Final = "SELECT 1"
"""The statement, where the user gives none."""

_PATIENCE: Final = 10.0
"""Seconds for the pool to fill, and for the last statements to end."""


def measure(settings: DatabaseSettings, size: int, threads: int, *, sql: str, seconds: float) -> Point:
    """One pool of this size under this many threads.

    Ctrl-C ends it at once; the connections are closed on every way out.

    Args:
        settings: who connects to what.
        size: of the pool, which is full when the clock starts.
        threads: that execute ``sql``, each again and again, each execution a transaction of its own.
        sql: the statement.
        seconds: for how long.

    Raises:
        sqlalchemy.exc.DBAPIError: the server refused the connections or the statement.
        PoolTimeoutError: the pool was not full in time.
    """
    db = DatabaseConnectionManager(settings.replace(min_size=size, max_size=size, max_idle=None, keepalive=None))
    enough = threading.Event()
    errors: list[Exception] = []

    def work() -> None:
        try:
            while not enough.is_set():
                db.execute_query(sql)
        except Exception as error:  # noqa: BLE001 - raised by the thread that measures
            errors.append(error)
            enough.set()

    workers = [threading.Thread(target=work, daemon=True, name=f"dbkit bench {n}") for n in range(threads)]
    try:
        db.warm_up(_PATIENCE)
        before, began = db.stats(), monotonic()
        for worker in workers:
            worker.start()
        enough.wait(seconds)
        after, ended = db.stats(), monotonic()
    finally:
        enough.set()
        deadline = monotonic() + _PATIENCE
        for worker in workers:
            if worker.ident is not None:
                worker.join(max(0.0, deadline - monotonic()))
        db.close_connections(timeout=0)
    if errors:
        raise errors[0]
    borrows = after.borrows - before.borrows
    return Point(
        size=size,
        threads=threads,
        seconds=ended - began,
        borrows=borrows,
        wait_mean=after.wait_time.total / borrows if borrows else 0.0,
        wait_p95=wait_quantile(after.wait_time, borrows, 0.95),
        service=after.use_time.mean,
    )
