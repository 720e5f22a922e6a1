"""The line and the hand-off: who is served, in what order, and by which connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, exc, text

from dbkit.pool.errors import LineFullError, PoolTimeoutError

from .helpers import (
    QUIET,
    Borrower,
    Connects,
    at_rest,
    engine_on,
    eventually,
    in_line,
    operational_error,
    pid_of,
    pool_on,
    refused,
    wrong_password,
)
from .runtimes import Flag, Task, done, on_both, on_each_runtime, sleep


@on_both
def test_waiters_are_served_in_the_order_they_came(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 1, "fair_after": 0}) as engine:
        pool = engine.pool
        served: list[int] = []

        def borrow(number: int) -> None:
            with pool.connect():
                served.append(number)

        holder = pool.connect()
        tasks = []
        for number in range(12):
            tasks.append(Task(borrow, number))
            in_line(pool, number + 1)
        holder.close()
        for task in tasks:
            task.outcome()
        assert served == list(range(12))
        assert pool.stats().opens == 1


@on_both
def test_no_newcomer_overtakes_when_the_line_is_strict(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 1, "fair_after": 0}) as engine:
        pool = engine.pool
        holder = pool.connect()
        waiter = Borrower(pool)
        in_line(pool, 1)
        newcomer = Borrower(pool)
        in_line(pool, 2)
        holder.close()
        assert waiter.has_it.wait(10)
        assert not newcomer.has_it.is_set()
        waiter.give_back()
        newcomer.give_back()


@on_both
def test_threads_that_hammer_a_small_pool_are_all_served_alike(shared_database: str):
    served = [0] * 12
    enough = Flag()
    with engine_on(shared_database, **QUIET | {"max_size": 2, "fair_after": 0}) as engine:

        def hammer(me: int) -> None:
            while not enough.is_set():
                engine.raw_connection().close()
                served[me] += 1
                sleep(0)

        tasks = [Task(hammer, me) for me in range(12)]
        eventually(lambda: min(served) >= 20)
        enough.set()
        for task in tasks:
            task.outcome()
        stats = engine.pool.stats()
    assert stats.in_use == stats.waiting == 0
    assert stats.timeouts == 0


@on_both
def test_a_returned_connection_serves_the_waiter_while_another_is_being_opened(shared_database: str):
    connects = Connects(shared_database)
    pool = pool_on(connects, **QUIET | {"max_size": 2})
    first = pool.connect()
    pid = pid_of(first)
    connects.gate.clear()
    waiter = Borrower(pool)
    eventually(lambda: connects.under_way == 1)
    first.close()
    assert waiter.has_it.wait(10), "the waiter sits in a connection attempt of its own"
    assert waiter.pid == pid
    assert connects.under_way == 1
    connects.gate.set()
    at_rest(pool, idle=1, in_use=1)  # the late connection goes to the idle ones
    waiter.give_back()
    pool.dispose()


@on_both
def test_the_late_connection_goes_to_the_next_in_line(shared_database: str):
    connects = Connects(shared_database)
    pool = pool_on(connects, **QUIET | {"max_size": 2})
    first = pool.connect()
    connects.gate.clear()
    served_at_once = Borrower(pool)
    eventually(lambda: connects.under_way == 1)
    first.close()
    assert served_at_once.has_it.wait(10)
    next_one = Borrower(pool)
    in_line(pool, 1)
    assert connects.begun == 2
    connects.gate.set()
    assert next_one.has_it.wait(10)
    assert next_one.pid != served_at_once.pid
    assert connects.begun == 2
    served_at_once.give_back()
    next_one.give_back()
    pool.dispose()


@on_each_runtime
def test_the_pool_grows_for_everybody_at_once(shared_database: str):
    connects = Connects(shared_database)
    connects.gate.clear()
    pool = pool_on(connects, **QUIET | {"max_size": 5})
    borrowers = [Borrower(pool) for _ in range(7)]
    in_line(pool, 7)
    eventually(lambda: connects.under_way == 5)
    stats = pool.stats()
    assert (stats.size, stats.opening, stats.in_use) == (5, 5, 0)
    connects.gate.set()
    eventually(lambda: sum(borrower.has_it.is_set() for borrower in borrowers) == 5)
    for borrower in borrowers:
        borrower.give_back()
    assert connects.most == connects.begun == 5
    pool.dispose()


@on_both
@pytest.mark.parametrize("error", [refused, wrong_password])
def test_a_failed_connect_is_the_front_waiters_error_at_once(shared_database: str, error: Callable[[], Exception]):
    connects = Connects(shared_database)
    connects.error = error
    with engine_on(shared_database, creator=connects, **QUIET | {"max_size": 1}) as engine:
        began = time.monotonic()
        with pytest.raises(exc.OperationalError, match=r"\(Background on this error at") as caught:
            engine.connect()
        assert time.monotonic() - began < 5
        assert isinstance(caught.value.orig, operational_error())
        assert caught.value.__cause__ is caught.value.orig
        assert engine.pool.stats().size == 0
        connects.error = None
        with engine.connect() as connection:  # the slot is free again
            assert connection.scalar(text("SELECT 1")) == 1
        assert engine.pool.stats().open_failures == 1


@on_both
def test_after_a_failed_connect_the_next_in_line_is_served(shared_database: str):
    connects = Connects(shared_database)
    connects.gate.clear()
    pool = pool_on(connects, **QUIET | {"max_size": 1, "fair_after": 0})
    unlucky = Borrower(pool)
    in_line(pool, 1)
    lucky = Borrower(pool)
    in_line(pool, 2)
    failures = iter([wrong_password()])

    def fail_once() -> BaseException:
        connects.error = None
        return next(failures)

    connects.error = fail_once
    connects.gate.set()
    with pytest.raises(operational_error(), match="password"):
        unlucky.task.outcome()
    assert lucky.has_it.wait(10)
    lucky.give_back()
    pool.dispose()


def free_by_detach(engine: Engine, connection: Any) -> None:
    connection.detach()
    connection.close()


def free_by_invalidate(engine: Engine, connection: Any) -> None:
    connection.invalidate()


def free_by_closing_the_driver_connection(engine: Engine, connection: Any) -> None:
    connection.dbapi_connection.close()
    connection.close()


def free_by_soft_invalidate(engine: Engine, connection: Any) -> None:
    connection.invalidate(soft=True)
    connection.close()


def free_by_dispose(engine: Engine, connection: Any) -> None:
    engine.pool.dispose()
    connection.close()


# With psycopg SQLAlchemy leaves it open on a loop (``has_terminate`` is False), until the collector comes.
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
@on_each_runtime
@pytest.mark.parametrize(
    "free",
    [
        free_by_detach,
        free_by_invalidate,
        free_by_closing_the_driver_connection,
        free_by_soft_invalidate,
        free_by_dispose,
    ],
    ids=lambda free: free.__name__,
)
def test_whatever_frees_a_slot_wakes_the_line(shared_database: str, free: Callable[[Engine, Any], None]):
    with engine_on(shared_database, **QUIET | {"max_size": 1, "pool_timeout": 60}) as engine:
        holder = engine.raw_connection()
        pid = pid_of(holder)
        waiters = [Borrower(engine.pool) for _ in range(2)]
        in_line(engine.pool, 2)
        free(engine, holder)
        for _ in range(2):
            served = eventually(lambda: [waiter for waiter in waiters if waiter.has_it.is_set()])
            waiters.remove(served[0])
            assert served[0].give_back() != pid
        assert engine.pool.stats().size == 1


# With psycopg SQLAlchemy leaves it open on a loop (``has_terminate`` is False), until the collector comes.
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
@on_each_runtime
def test_a_detached_connection_is_counted_as_such(shared_database: str):
    with engine_on(shared_database, **QUIET) as engine:
        connection = engine.raw_connection()
        connection.detach()
        connection.close()
        assert engine.pool.stats().closes == {"detached": 1}


@on_both
def test_a_line_that_is_full_refuses_at_once(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 1, "max_waiting": 1, "pool_timeout": 60}) as engine:
        holder = engine.raw_connection()
        waiter = Borrower(engine.pool)
        in_line(engine.pool, 1)
        with pytest.raises(LineFullError, match="max_waiting is 1") as caught:
            engine.connect()
        assert isinstance(caught.value, exc.TimeoutError)
        assert not isinstance(caught.value, PoolTimeoutError)
        assert engine.pool.stats().refused == 1
        holder.close()
        waiter.give_back()


@on_both
def test_with_no_waiting_allowed_a_pool_still_grows(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 2, "max_waiting": 0}) as engine:
        with engine.connect(), engine.connect(), pytest.raises(LineFullError):
            engine.connect()
        with engine.connect():
            pass


@on_both
def test_a_timeout_of_zero_takes_what_is_idle_and_waits_for_nothing(shared_database: str):
    with engine_on(shared_database, **QUIET | {"min_size": 1, "max_size": 1, "pool_timeout": 0}) as engine:
        done(engine.pool.warm_up(10))
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
            began = time.monotonic()
            with pytest.raises(PoolTimeoutError, match="0 s"):
                engine.connect()
            assert time.monotonic() - began < 5
        with engine.connect():
            pass


@on_both
def test_many_timeouts_racing_hand_offs_lose_nothing(shared_database: str):
    """A hand-off and a timeout at the same moment: the connection goes on to the next, or the waiter has it."""
    with engine_on(shared_database, **QUIET | {"max_size": 2, "pool_timeout": 0.002, "fair_after": 0}) as engine:
        done(engine.pool.warm_up(10))
        outcomes: list[bool] = []
        enough = Flag()

        def hammer() -> None:
            while not enough.is_set():
                try:
                    connection = engine.raw_connection()
                except PoolTimeoutError:
                    outcomes.append(False)
                else:
                    outcomes.append(True)
                    connection.close()
                sleep(0)

        tasks = [Task(hammer) for _ in range(8)]
        eventually(lambda: outcomes.count(True) > 1000 or len(outcomes) > 20_000)
        enough.set()
        for task in tasks:
            task.outcome()
        at_rest(engine.pool, in_use=0, waiting=0, opening=0)
        stats = engine.pool.stats()
        assert stats.timeouts == outcomes.count(False)
        assert stats.size == stats.idle <= 2
        assert stats.borrows == outcomes.count(True)
