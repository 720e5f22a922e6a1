"""The end of a pool: ``close(timeout)`` refuses, waits, and reports."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import exc, text

from dbkit.pool.errors import PoolClosedError

from .helpers import QUIET, Admin, Borrower, Connects, at_rest, engine_on, eventually, in_line, locked, unique
from .runtimes import Task, done, on_both, on_each_runtime


@on_both
def test_a_closed_pool_refuses_newcomers(shared_database: str, admin: Admin):
    name = unique("closed")
    with engine_on(shared_database, name=name, **QUIET) as engine:
        with engine.connect():
            pass
        assert done(engine.pool.close()) == ()
        eventually(lambda: not admin.pids(name))
        with pytest.raises(PoolClosedError, match="closed for good") as caught:
            engine.connect()
        assert isinstance(caught.value, exc.InvalidRequestError)
        assert engine.pool.stats().size == 0
        assert engine.pool.stats().closes == {"closed": 1}


@on_both
def test_those_in_line_are_refused_at_once(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 1, "pool_timeout": 60}) as engine:
        held = engine.raw_connection()
        waiters = [Task(engine.raw_connection) for _ in range(3)]
        in_line(engine.pool, 3)
        assert len(done(engine.pool.close(0))) == 1
        for waiter in waiters:
            with pytest.raises(PoolClosedError, match="while this borrower waited"):
                waiter.outcome()
        held.close()


@on_each_runtime
def test_it_waits_for_what_is_out(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 2}) as engine:
        holders = [Borrower(engine.pool) for _ in range(2)]
        eventually(lambda: all(holder.has_it.is_set() for holder in holders))
        closing = Task(engine.pool.close, 60)
        eventually(lambda: closed_for_newcomers(engine))
        for holder in holders:
            assert closing.is_alive()
            holder.give_back()
        assert closing.outcome() == ()
        assert engine.pool.stats().size == 0


def closed_for_newcomers(engine: object) -> bool:
    """Whether ``close`` has got that far."""
    pool = engine.pool  # type: ignore[attr-defined]
    with locked(pool) as ledger:
        return bool(ledger.closed)


@on_each_runtime
def test_it_reports_who_still_holds_what_and_closes_it_when_it_comes_back(shared_database: str, admin: Admin):
    name = unique("late")
    with engine_on(shared_database, name=name, **QUIET) as engine:
        holder = Borrower(engine.pool, name="slow-export")
        assert holder.has_it.wait(10)
        began = time.monotonic()
        (found,) = done(engine.pool.close(0.1))
        assert 0.1 <= time.monotonic() - began < 5
        assert found.thread == "slow-export"
        assert found.seconds > 0
        assert any("helpers.py" in place for place in found.where)
        assert len(admin.pids(name)) == 1
        holder.give_back()
        eventually(lambda: not admin.pids(name))
        assert done(engine.pool.close()) == ()  # a second call finds all closed


@on_each_runtime
def test_what_is_out_works_until_it_comes_back(shared_database: str):
    with engine_on(shared_database, **QUIET) as engine:
        with engine.connect() as connection:
            done(done(engine.pool.close(0)))
            assert connection.scalar(text("SELECT 1")) == 1
        at_rest(engine.pool, size=0)


@on_both
def test_closing_twice_and_an_unused_pool(shared_database: str):
    with engine_on(shared_database) as engine:
        assert done(engine.pool.close()) == ()
        assert done(engine.pool.close()) == ()
        engine.pool.dispose()


@on_both
def test_two_who_close_at_once_are_both_told(shared_database: str):
    with engine_on(shared_database, **QUIET) as engine:
        held = engine.raw_connection()
        closing = [Task(engine.pool.close, 60) for _ in range(3)]
        eventually(lambda: closed_for_newcomers(engine))
        assert all(task.is_alive() for task in closing)
        held.close()
        assert [task.outcome() for task in closing] == [(), (), ()]


@on_each_runtime
def test_a_connect_under_way_is_closed_when_it_arrives(shared_database: str, admin: Admin):
    connects = Connects(shared_database, unique("underway"))
    connects.gate.clear()
    with engine_on(shared_database, creator=connects, **QUIET) as engine:
        waiter = Task(engine.raw_connection)
        eventually(lambda: connects.under_way == 1)
        closing = Task(engine.pool.close, 60)
        with pytest.raises(PoolClosedError):
            waiter.outcome()
        assert closing.is_alive()
        connects.gate.set()
        assert closing.outcome() == ()
        eventually(lambda: not admin.pids(connects.name))


@on_both
def test_warm_up_of_a_closed_pool_is_refused(shared_database: str):
    with engine_on(shared_database) as engine:
        done(engine.pool.close())
        with pytest.raises(PoolClosedError):
            done(engine.pool.warm_up())
        assert engine.pool.stats().waiting == 0
