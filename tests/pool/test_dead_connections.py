"""A connection that died while it lay idle is replaced silently, and costs nobody their place in line."""

from __future__ import annotations

import time

from sqlalchemy import text

from .helpers import QUIET, Admin, Recorder, at_rest, engine_on, eventually, in_line, locked, pid_of, stale, unique
from .runtimes import Task, done, on_each_runtime


@on_each_runtime
def test_a_connection_killed_while_idle_is_replaced_silently(shared_database: str, admin: Admin):
    with engine_on(shared_database, **QUIET) as engine:
        with engine.connect() as connection:
            pid = pid_of(connection)
        stale(engine.pool)
        admin.kill(pid)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
            assert pid_of(connection) != pid
        at_rest(engine.pool, size=1, idle=1)
        assert engine.pool.stats().closes == {"dead": 1}
        assert engine.pool.stats().borrows == 2


@on_each_runtime
def test_when_all_idle_ones_are_killed_at_once_no_borrower_sees_it(shared_database: str, admin: Admin):
    name = unique("massacre")
    with engine_on(shared_database, name=name, **QUIET | {"min_size": 8, "max_size": 8}) as engine:
        done(engine.pool.warm_up())
        before = admin.pids(name)
        assert len(before) == 8
        stale(engine.pool)
        admin.kill(*before)

        def work() -> int:
            with engine.connect() as connection:
                found: int = connection.scalar(text("SELECT pg_backend_pid()"))
                return found

        tasks = [Task(work) for _ in range(8)]
        assert not before & {task.outcome() for task in tasks}
        at_rest(engine.pool, size=8, idle=8)
        assert engine.pool.stats().closes["dead"] == 8
        assert engine.pool.stats().open_failures == 0


@on_each_runtime
def test_one_dead_connection_has_the_others_looked_at(shared_database: str, admin: Admin):
    name = unique("others")
    with engine_on(shared_database, name=name, **QUIET | {"min_size": 5, "max_size": 5}) as engine:
        done(engine.pool.warm_up())
        before = admin.pids(name)
        stale(engine.pool)
        admin.kill(*before)
        with engine.connect():  # one borrower finds one of them
            pass
        at_rest(engine.pool, size=5, idle=5)
        eventually(lambda: engine.pool.stats().closes == {"dead": 5})
        assert not admin.pids(name) & before


@on_each_runtime
def test_a_ping_that_finds_one_dead_has_the_others_looked_at_without_any_borrower(shared_database: str, admin: Admin):
    name = unique("quiet_deaths")
    with engine_on(shared_database, name=name, **QUIET | {"min_size": 5, "max_size": 5}) as engine:
        done(engine.pool.warm_up())
        admin.kill(*admin.pids(name))
        told = Recorder(engine.pool)
        with locked(engine.pool) as ledger:  # as a keepalive does
            ledger.suspect_idle(ledger.idle[0], time.monotonic())
        eventually(lambda: engine.pool.stats().closes == {"dead": 5})
        at_rest(engine.pool, size=5, idle=5)
        assert engine.pool.stats().borrows == 0
        assert told.names.count("invalidate") == 5


@on_each_runtime
def test_one_whose_connection_proved_dead_is_still_served_first(shared_database: str, admin: Admin):
    with engine_on(shared_database, **QUIET | {"max_size": 1, "pool_timeout": 60}) as engine:
        with engine.connect() as connection:
            pid = pid_of(connection)
        done(engine.pool.pause())
        served: list[int] = []

        def work(me: int) -> None:
            with engine.connect() as connection:
                served.append(me)
                assert pid_of(connection) != pid

        tasks = []
        for me in range(3):
            tasks.append(Task(work, me))
            in_line(engine.pool, me + 1)
        admin.kill(pid)
        engine.pool.resume()
        for task in tasks:
            task.outcome()
        assert served == [0, 1, 2]
        assert engine.pool.stats().closes == {"dead": 1}
