"""Programs for the drills that need a process of their own: ``python -m tests.drills.programs NAME URL``."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from dbkit import DatabaseConnectionManager, PoolTimeoutError


def _in_child(db: DatabaseConnectionManager, ours: int) -> None:
    assert db.execute_query("SELECT pg_backend_pid()").scalar() != ours
    with db.session_scope() as session:
        session.execute(text("SELECT 1"))
    assert db.stats().in_use == 0


def _afresh(url: str) -> None:
    with DatabaseConnectionManager(url, min_size=0) as db:
        assert db.execute_query("SELECT 1").scalar() == 1


def methods(url: str) -> None:
    """multiprocessing's three ways, with an idle, a borrowed and a waited-for connection in the parent."""
    db = DatabaseConnectionManager(url, min_size=0, max_size=2, timeout=60)
    ours = db.execute_query("SELECT pg_backend_pid()").scalar()
    with db.engine.connect() as one, db.engine.connect():
        waiting = threading.Thread(target=db.execute_query, args=("SELECT 1",))
        waiting.start()
        while not db.stats().waiting:
            time.sleep(0.001)
        child = multiprocessing.get_context("fork").Process(target=_in_child, args=(db, ours))
        child.start()
        child.join(60)
        assert child.exitcode == 0, child.exitcode
        assert one.scalar(text("SELECT 1")) == 1
    waiting.join()
    for method in ("spawn", "forkserver"):
        started = multiprocessing.get_context(method).Process(target=_afresh, args=(url,))
        started.start()
        started.join(60)
        assert started.exitcode == 0, (method, started.exitcode)
    assert db.stats().in_use == 0


def forks(url: str, count: str) -> None:
    """Many forks beside six threads that connect all the time."""
    db = DatabaseConnectionManager(url, min_size=0, max_size=8, timeout=60)
    db.execute_query("SELECT 1")
    stop, errors = threading.Event(), []

    def connect() -> None:
        while not stop.is_set():
            try:
                with db.engine.connect() as connection:
                    connection.detach()  # so that the next one must be opened
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=connect) for _ in range(6)]
    for thread in threads:
        thread.start()
    longest = 0.0
    for _ in range(int(count)):
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            try:
                ended = db.execute_query("SELECT 1").scalar() == 1
            except BaseException:
                ended = False
            os._exit(0 if ended else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        longest = max(longest, time.monotonic() - began)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors, errors[:3]
    print(f"longest child {longest:.2f}")


def crowd(url: str, threads: str, each: str) -> None:
    """Many threads, each with a few short borrows, on twenty connections."""
    threading.stack_size(256 * 1024)
    db = DatabaseConnectionManager(url, min_size=20, max_size=20, timeout=120, warm=True)
    waits: list[float] = []

    def work() -> None:
        for _ in range(int(each)):
            began = time.monotonic()
            connection: Any = db.pool.connect()
            waits.append(time.monotonic() - began)
            connection.close()

    crew = [threading.Thread(target=work) for _ in range(int(threads))]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    assert len(waits) == int(threads) * int(each)
    assert db.stats().in_use == 0
    print(f"longest wait {max(waits):.3f}")


def soak(url: str, seconds: str) -> None:
    """All of it mixed; then memory, threads and descriptors are where they were."""
    numbers = {"min_size": 1, "max_size": 6, "timeout": 0.5, "max_idle": 1.0, "max_lifetime": 3.0, "keepalive": 0.5}
    db = DatabaseConnectionManager(url, leak_after=0.2, **numbers)
    did: Counter[str] = Counter()
    end = [0.0]

    def leak() -> None:
        cycle: list[Any] = [db.pool.connect()]
        cycle.append(cycle)

    def stream() -> None:
        rows = db.stream_query("SELECT generate_series(1, 100)", chunk=10)
        next(rows)

    def deadline() -> None:
        with db.deadline(0.05):
            db.execute_query("SELECT pg_sleep(1)")

    def kill() -> None:
        db.execute_query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
        )

    def fork() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    def session() -> None:
        with db.session_scope() as opened:
            opened.execute(text("SELECT 1"))

    works: list[tuple[Callable[[], Any], int]] = [
        (lambda: db.execute_query("SELECT 1"), 60), (session, 40), (leak, 3), (stream, 10), (deadline, 3), (kill, 1),
        (fork, 1), (db.pool.drain, 1), (lambda: db.pool.resize(max_size=random.randint(2, 6)), 2), (gc.collect, 2),
        (db.pool.holders, 2),
    ]  # fmt: skip

    def run() -> None:
        todo, weights = zip(*works, strict=True)
        while time.monotonic() < end[0]:
            [work] = random.choices(todo, weights)
            try:
                work()
                did["done"] += 1
            except PoolTimeoutError:
                did["timeouts"] += 1
            except Exception as error:
                did[type(error).__name__] += 1

    def some(length: float) -> tuple[int, int, int]:
        end[0] = time.monotonic() + length
        crew = [threading.Thread(target=run) for _ in range(10)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
        patience = time.monotonic() + 60
        while True:
            gc.collect()
            stats = db.stats()
            if (stats.in_use == stats.opening == stats.waiting == 0) or time.monotonic() > patience:
                break
            time.sleep(0.05)
        assert db.stats().in_use == 0, db.pool.holders()
        with open("/proc/self/statm") as file:  # noqa: PTH123 - not a path of ours
            memory = int(file.read().split()[1]) * resource.getpagesize() // 1024
        return memory, threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    first = some(float(seconds) / 3)
    last = some(float(seconds) * 2 / 3)
    names = ("memory", "threads", "descriptors")
    more = {name: after - before for name, before, after in zip(names, first, last, strict=True)}
    print(*(f"{name} {value}" for name, value in (more | {"done": did["done"]}).items()), dict(did))


if __name__ == "__main__":
    {"methods": methods, "forks": forks, "crowd": crowd, "soak": soak}[sys.argv[1]](*sys.argv[2:])
