"""Everything at once, for as long as ``DBKIT_STRESS`` says (1 is about three seconds): only invariants count."""

from __future__ import annotations

import os
import random
import threading
import time
from typing import Any

import psycopg2
import pytest
from sqlalchemy import exc

from dbkit.pool.errors import PoolTimeoutError

from .helpers import QUIET, Admin, Connects, at_rest, engine_on, eventually, refused, unique
from .runtimes import Task

SECONDS = 3 * float(os.environ.get("DBKIT_STRESS", "1"))
MOST = 6


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_thirty_two_threads_doing_everything(shared_database: str, admin: Admin):
    connects = Connects(shared_database, unique("stress"))
    numbers = QUIET | {"min_size": 2, "max_size": MOST, "max_idle": 0.2, "max_lifetime": 1.0, "keepalive": 0.3}
    with engine_on(shared_database, creator=connects, **numbers, pool_timeout=30) as engine:
        pool: Any = engine.pool
        pool.warm_up()
        enough = threading.Event()
        detached: list[int] = []
        borrows = [0] * 32
        unexpected: list[BaseException] = []

        def work(me: int) -> None:
            dice = random.Random(me)
            while not enough.is_set():
                try:
                    connection = pool.connect()
                except psycopg2.OperationalError:
                    continue
                except PoolTimeoutError as error:
                    unexpected.append(error)
                    return
                borrows[me] += 1
                try:
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT 1")
                    chance = dice.random()
                    if chance < 0.02:
                        connection.invalidate()
                        continue
                    if chance < 0.03:
                        connection.invalidate(soft=True)
                    elif chance < 0.04:
                        detached.append(connection.driver_connection.get_backend_pid())
                        connection.detach()
                    elif chance < 0.05:
                        connection.driver_connection.close()
                    connection.close()
                except (psycopg2.Error, exc.DBAPIError):
                    connection.invalidate()

        def trouble() -> None:
            dice = random.Random(0)
            while not enough.wait(0.05):
                what = dice.randrange(4)
                if what == 0:
                    pool.dispose()
                elif what == 1 and (victims := sorted(admin.pids(connects.name))):
                    admin.rows("SELECT pg_terminate_backend(%s)", dice.choice(victims))
                elif what == 2:
                    connects.error = refused
                else:
                    connects.error = None
            connects.error = None

        tasks = [Task(work, me) for me in range(32)] + [Task(trouble)]
        deadline = time.monotonic() + SECONDS
        samples = 0
        while time.monotonic() < deadline:
            stats = pool.stats()
            samples += 1
            assert stats.idle + stats.in_use + stats.opening == stats.size <= MOST, stats
            assert min(stats.idle, stats.in_use, stats.opening, stats.waiting) >= 0, stats
            if samples % 20 == 0:
                # Beside what the pool has, a connection may be on its way out: closed by us, not yet by the server.
                assert len(admin.pids(connects.name)) <= 2 * MOST + 32
        enough.set()
        for task in tasks:
            task.outcome(40)
        assert not unexpected, unexpected[0]
        at_rest(pool, in_use=0, waiting=0, opening=0)
        assert min(borrows) > 0, "somebody starved"
        held = [pool.connect() for _ in range(MOST)]
        stats = pool.stats()
        assert (stats.in_use, stats.size) == (MOST, MOST)
        eventually(lambda: len(admin.pids(connects.name)) == MOST)
        for connection in held:
            connection.close()


def test_what_the_server_sees_never_exceeds_the_maximum(shared_database: str, admin: Admin):
    """With connections that end only by the pool's own hand, at no moment are there more than allowed."""
    connects = Connects(shared_database, unique("bounded"))
    with engine_on(shared_database, creator=connects, **QUIET | {"max_size": 3}, pool_timeout=30) as engine:
        enough = threading.Event()
        seen: list[int] = []

        def work() -> None:
            while not enough.is_set():
                engine.raw_connection().close()

        tasks = [Task(work) for _ in range(16)]
        eventually(lambda: seen.append(len(admin.pids(connects.name))) or len(seen) > 100)
        enough.set()
        for task in tasks:
            task.outcome()
    assert max(seen) <= 3
    assert connects.begun <= 3
