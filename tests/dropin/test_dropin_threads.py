"""Many threads at once: one of them makes the pool, all are served, and no connection is lost or lent twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from dbkit.dropin import (
    AlreadyInitializedError,
    DatabaseConnectionPool,
    DatabasePool,
    NotLentError,
    PostgresqlConnection,
    database_pool,
)
from dbkit.dropin.loans import Loans

from ..pool.helpers import PATIENCE, Admin, Task, eventually
from .common import lending, pool_of, value


def at_once(count: int, work: Callable[[], Any]) -> list[Any]:
    """Have so many threads do the same, all beginning at the same moment; return what each returned."""
    start = threading.Barrier(count)

    def begin() -> Any:
        start.wait(PATIENCE)
        return work()

    return [task.outcome(60) for task in [Task(begin) for _ in range(count)]]


def unless(error: type[Exception], work: Callable[[], Any]) -> Callable[[], bool]:
    """Return what does the work and tells whether it could; else it was this error."""

    def attempt() -> bool:
        try:
            work()
        except error:
            return False
        return True

    return attempt


# ---- the making


def test_fifty_threads_make_one_database_connection_pool(
    environment: Callable[..., str], address: dict[str, Any], admin: Admin
):
    name = environment(address)
    make = unless(AlreadyInitializedError, lambda: DatabaseConnectionPool.initialize_pool(2, 5))
    assert sum(at_once(50, make)) == 1
    assert len(admin.pids(name)) == 2
    DatabaseConnectionPool.close_all_connections()
    eventually(lambda: not admin.pids(name))


def test_fifty_threads_make_one_database_pool(address: dict[str, Any], environment: Callable[..., str], admin: Admin):
    name = environment({})
    assert sum(at_once(50, unless(AlreadyInitializedError, lambda: DatabasePool.initialize(**address)))) == 1
    assert len(admin.pids(name)) == 2


def test_fifty_threads_get_one_object_and_one_pool(
    environment: Callable[..., str], address: dict[str, Any], admin: Admin
):
    name = environment(address, min_conn=2)
    made = at_once(50, PostgresqlConnection)
    assert len({id(one) for one in made}) == 1
    assert PostgresqlConnection() is made[0]
    assert len(admin.pids(name)) == 2


# ---- borrowing


def test_many_threads_are_all_served(environment: Callable[..., str], address: dict[str, Any], admin: Admin):
    name = environment(address)
    DatabaseConnectionPool.initialize_pool(1, 5)

    def work() -> int:
        done = 0
        for _ in range(20):
            conn = DatabaseConnectionPool.get_connection()
            try:
                done += value(conn, "SELECT 1")
            finally:
                DatabaseConnectionPool.put_connection(conn)
        return done

    assert at_once(32, work) == [20] * 32
    assert 1 <= len(admin.pids(name)) <= 5
    everything = [DatabaseConnectionPool.get_connection() for _ in range(5)]  # none is lost
    for conn in everything:
        DatabaseConnectionPool.put_connection(conn)


def test_many_threads_are_all_served_and_none_is_lost(address: dict[str, Any]):
    DatabasePool.initialize(**address, min_connections=1, max_connections=5)

    def work() -> None:
        for _ in range(20):
            conn = DatabasePool.get_connection()
            try:
                with conn:
                    value(conn, "SELECT 1")
            finally:
                DatabasePool.return_connection(conn)

    at_once(32, work)
    stats = pool_of(database_pool).stats()
    assert (stats.in_use, stats.waiting) == (0, 0)
    assert stats.idle == stats.size <= 5


def test_requests_on_an_event_loops_threads_wait_for_each_other(address: dict[str, Any]):
    DatabasePool.initialize(**address, min_connections=1, max_connections=2)

    def request() -> Any:
        conn = DatabasePool.get_connection()
        try:
            return value(conn, "SELECT 1")
        finally:
            DatabasePool.return_connection(conn)

    async def requests() -> list[Any]:
        return await asyncio.gather(*(asyncio.to_thread(request) for _ in range(20)))

    assert asyncio.run(requests()) == [1] * 20


def test_no_two_of_many_threads_have_the_same_connection(shared_database: str):
    with lending(shared_database, max_size=5, timeout=30) as loans:
        out: set[int] = set()

        def work() -> int:
            done = 0
            for _ in range(50):
                lent = loans.borrow()
                pid = lent.get_backend_pid()
                assert pid not in out, "two borrowers have the same connection"
                out.add(pid)
                done += value(lent, "SELECT 1")
                out.remove(pid)
                loans.give_back(lent)
            return done

        assert at_once(32, work) == [50] * 32
        stats = loans.pool.stats()
        assert (stats.in_use, stats.waiting) == (0, 0)
        assert stats.size <= 5


def test_one_of_many_threads_gives_it_back(loans: Loans):
    """Eight threads give back the same connection at once: one succeeds, and the connection is in the pool once."""
    for _ in range(20):
        lent = loans.borrow()
        assert sum(at_once(8, unless(NotLentError, lambda lent=lent: loans.give_back(lent)))) == 1  # type: ignore[misc]
        assert loans.pool.stats().idle == loans.pool.stats().size == 1
