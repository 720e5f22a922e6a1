"""Programs for the drills that need a process of their own: ``python -m tests.drills.programs NAME URL``."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from typing import Any

from sqlalchemy import text

from dbkit import DatabaseConnectionManager


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


if __name__ == "__main__":
    {"methods": methods, "forks": forks, "crowd": crowd}[sys.argv[1]](*sys.argv[2:])
