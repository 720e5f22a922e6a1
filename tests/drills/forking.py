"""Forked children: ``python -m tests.drills.forking CASE POOL URL [COUNT]``."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from dbkit import DatabaseConnectionManager

from ..pool.helpers import eventually
from .entrants import SIZE, Entrant, fill, turn
from .inside import OURS, end, make, say

PATIENCE: Final = 15
"""Seconds until a child counts as hung."""


def forked(work: Callable[[], bool]) -> int:
    """How many children did not do it: 0, or 1 if this one failed or hung."""
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(PATIENCE - 2)
        signal.alarm(PATIENCE)
        try:
            did = work()
        except BaseException:
            did = False
        os._exit(0 if did else 1)
    return int(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)


def pid_of(entrant: Entrant) -> int:
    """The server's process behind the connection that the next borrower gets."""
    handle = entrant.borrow()
    pid: int = entrant.driver_connection(handle).info.backend_pid
    entrant.execute(handle, "SELECT 1")
    entrant.commit(handle)
    entrant.give_back(handle)
    return pid


def idle(name: str, url: str) -> None:
    """A child uses the pool as it is, with the parent's connections idle in it."""
    entrant = make(name, url, timeout=5)
    fill(entrant)
    handles = [entrant.borrow() for _ in range(SIZE)]
    parents = {entrant.driver_connection(handle).info.backend_pid for handle in handles}
    for handle in handles:
        entrant.give_back(handle)
    reader, writer = os.pipe()

    def use() -> bool:
        os.write(writer, b"1" if pid_of(entrant) in parents else b"0")
        return True

    failed = forked(use)
    os.close(writer)
    shared, errors = os.read(reader, 1) == b"1", 0
    for _ in range(SIZE):
        try:
            turn(entrant)
        except Exception:
            errors += 1
    say(failed=failed, shared=int(shared), errors=errors)
    end(entrant, url)


def afresh(entrant: Entrant, url: str) -> Entrant:
    """What a child must do first, by the documents of each pool. With ours, nothing."""
    if entrant.name == OURS:
        return entrant
    if entrant.name == "psycopg_pool":
        return make(entrant.name, url, timeout=10, size=1)
    entrant.engine.dispose(close=False)  # type: ignore[attr-defined]
    return entrant


def connecting(name: str, url: str, count: str) -> None:
    """Many forks beside six threads that connect all the time."""
    entrant = make(name, url, timeout=60)
    turn(entrant)
    stop, errors = threading.Event(), []

    def connect() -> None:
        while not stop.is_set():
            try:
                handle = entrant.borrow()
                (entrant.driver_connection(handle).close if name == "psycopg_pool" else handle.detach)()
                entrant.give_back(handle)
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=connect) for _ in range(6)]
    for thread in threads:
        thread.start()
    longest, failed = 0.0, 0
    for _ in range(int(count)):
        began = time.monotonic()
        failed += forked(lambda: turn(afresh(entrant, url)) is None)
        longest = max(longest, time.monotonic() - began)
        if failed >= 3:
            break  # each may cost its patience
    stop.set()
    for thread in threads:
        thread.join()
    say(failed=failed, errors=len(errors), longest=longest)
    end(entrant, url)


def _in_child(db: DatabaseConnectionManager, ours: int) -> None:
    assert db.execute_query("SELECT pg_backend_pid()").scalar() != ours
    assert db.stats().in_use == 0


def _from_nothing(url: str) -> None:
    with DatabaseConnectionManager(url, min_size=0) as db:
        assert db.execute_query("SELECT 1").scalar() == 1


def methods(name: str, url: str) -> None:
    """multiprocessing's three ways, with an idle, a borrowed and a waited-for connection in the parent."""
    entrant: Any = make(name, url, timeout=60, size=2)
    db = entrant.db
    ours = db.execute_query("SELECT pg_backend_pid()").scalar()
    codes = []

    def start(method: str, work: Callable[..., None], *given: Any) -> None:
        child = multiprocessing.get_context(method).Process(target=work, args=given)
        child.start()
        child.join(60)
        codes.append(child.exitcode)

    start("fork", _in_child, db, ours)  # with all idle
    with db.engine.connect() as one, db.engine.connect():
        waiting = threading.Thread(target=db.execute_query, args=("SELECT 1",))
        waiting.start()
        eventually(lambda: db.stats().waiting)
        start("fork", _in_child, db, ours)
        assert one.exec_driver_sql("SELECT 1").scalar() == 1
    waiting.join()
    start("spawn", _from_nothing, url)
    start("forkserver", _from_nothing, url)
    say(failed=sum(code != 0 for code in codes))
    end(entrant, url)


if __name__ == "__main__":
    {"idle": idle, "connecting": connecting, "methods": methods}[sys.argv[1]](*sys.argv[2:])
