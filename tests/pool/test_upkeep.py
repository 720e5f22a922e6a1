"""What happens in the background: refill, shrink, retirement, keepalive, warm-up; and that it ends."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine

from dbkit.core.matching import JITTER
from dbkit.pool.elastic import ElasticPool
from dbkit.pool.errors import PoolTimeoutError
from dbkit.runtime import background
from dbkit.runtime.background import Clock
from dbkit.runtime.bell import Bell

from .helpers import (
    QUIET,
    Admin,
    Connects,
    at_rest,
    count_pings,
    engine_on,
    eventually,
    locked,
    operational_error,
    pid_of,
    pool_on,
    refused,
    slot_of,
    sqlalchemy_url,
    unique,
    wrong_password,
)
from .runtimes import Task, done, on_both, on_each_runtime, pool_class


def surplus(pool: Any, count: int) -> None:
    """Borrow so many at once and give them back."""
    held = [pool.connect() for _ in range(count)]
    for connection in held:
        connection.close()


@on_each_runtime
def test_a_surplus_shrinks_to_the_minimum(shared_database: str, admin: Admin):
    name = unique("shrink")
    with engine_on(shared_database, name=name, **QUIET | {"min_size": 2, "max_size": 6, "max_idle": 0.2}) as engine:
        surplus(engine.pool, 6)
        assert engine.pool.stats().size == 6
        at_rest(engine.pool, size=2, idle=2)
        eventually(lambda: len(admin.pids(name)) == 2)
        assert engine.pool.stats().closes == {"max_idle": 4}
        surplus(engine.pool, 2)
        assert engine.pool.stats().opens == 6  # the two left are the same ones


@on_both
def test_what_is_used_is_not_shrunk(shared_database: str):
    with engine_on(shared_database, **QUIET | {"min_size": 0, "max_size": 3, "max_idle": 0.3}) as engine:
        surplus(engine.pool, 3)
        held = engine.raw_connection()
        at_rest(engine.pool, size=1, in_use=1)
        held.close()
        at_rest(engine.pool, size=0)


@on_both
def test_an_unused_pool_opens_nothing(shared_database: str):
    connects = Connects(shared_database)
    pool = pool_on(connects, min_size=3)
    assert pool.stats().size == 0
    assert connects.begun == 0


@on_both
def test_the_first_borrow_has_the_minimum_opened(shared_database: str):
    with engine_on(shared_database, **QUIET | {"min_size": 4, "max_size": 5}) as engine:
        with engine.connect():
            pass
        at_rest(engine.pool, idle=4)
        assert engine.pool.stats().opens == 4


@on_each_runtime
def test_the_minimum_is_refilled_in_parallel(shared_database: str, admin: Admin):
    connects = Connects(shared_database, unique("refill"))
    pool = pool_on(connects, **QUIET | {"min_size": 4, "max_size": 4, "keepalive": 0.2})
    done(pool.warm_up())
    before = admin.pids(connects.name)
    connects.gate.clear()
    connects.most = 0
    admin.kill(*before)
    eventually(lambda: connects.under_way == 4)  # found dead, and all being replaced at once
    connects.gate.set()
    at_rest(pool, idle=4)
    assert not admin.pids(connects.name) & before
    pool.dispose()


@on_each_runtime
def test_an_old_connection_retires_while_idle_and_is_replaced(shared_database: str):
    with engine_on(shared_database, **QUIET | {"min_size": 1, "max_size": 1, "max_lifetime": 0.3}) as engine:
        with engine.connect() as connection:
            pid = pid_of(connection)
        eventually(lambda: engine.pool.stats().closes.get("max_lifetime", 0) >= 1)
        at_rest(engine.pool, size=1)
        with engine.connect() as connection:
            assert pid_of(connection) != pid


@on_each_runtime
def test_an_old_connection_that_is_out_retires_when_it_comes_back(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 1, "max_lifetime": 0.1}) as engine:
        held = engine.raw_connection()
        pid = pid_of(held)
        eventually(lambda: time.monotonic() > slot_of(held).retire_at)
        assert engine.pool.stats().in_use == 1
        held.cursor().execute("SELECT 1")
        held.close()
        eventually(lambda: engine.pool.stats().closes == {"max_lifetime": 1})
        with engine.connect() as connection:
            assert pid_of(connection) != pid


@on_both
def test_lifetimes_are_spread_within_their_bounds(shared_database: str):
    lifetime = 1_000_000.0
    with engine_on(shared_database, **QUIET | {"min_size": 10, "max_size": 10, "max_lifetime": lifetime}) as engine:
        before = time.monotonic()
        done(engine.pool.warm_up())
        after = time.monotonic()
        with locked(engine.pool) as ledger:
            ends = sorted(slot.retire_at for slot in ledger.slots)
    assert ends[-1] - ends[0] > after - before, "they all retire at once"
    assert before + lifetime * (1 - JITTER) <= ends[0]
    assert ends[-1] <= after + lifetime


@on_each_runtime
def test_keepalive_pings_idle_connections_in_the_background(shared_database: str, admin: Admin):
    with engine_on(shared_database, **QUIET | {"min_size": 2, "max_size": 2, "keepalive": 0.1}) as engine:
        done(engine.pool.warm_up())
        pinged = count_pings(engine)
        eventually(lambda: len(pinged) >= 6 and len(set(pinged)) == 2)
        stats = engine.pool.stats()
        assert stats.opens == 2
        assert stats.closes == {}


class CountedClock(Clock):
    """Knows how many threads it runs on."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def _run(self, bell: Bell) -> None:
        self.threads.append(threading.get_ident())
        try:
            super()._run(bell)
        finally:
            self.threads.remove(threading.get_ident())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> CountedClock:
    """Return an alarm clock that no other test's pools have alarms on."""
    mine = CountedClock()
    monkeypatch.setattr(background, "clock", mine)
    return mine


def test_no_thread_is_left_when_nothing_is_due(shared_database: str, clock: CountedClock):
    with engine_on(shared_database, **QUIET | {"max_idle": 0.2, "min_size": 1}) as engine:
        surplus(engine.pool, 3)
        eventually(lambda: len(clock.threads) == 1)
        at_rest(engine.pool, size=1)
        eventually(lambda: len(clock.threads) == 0)
        surplus(engine.pool, 3)
        eventually(lambda: len(clock.threads) == 1)
    eventually(lambda: len(clock.threads) == 0)


def test_one_thread_keeps_time_for_all_pools(shared_database: str, clock: CountedClock):
    pools = [pool_on(Connects(shared_database), min_size=1, keepalive=0.5) for _ in range(10)]
    for pool in pools:
        done(pool.warm_up())
    eventually(lambda: clock.threads)
    assert len(clock.threads) == 1
    for pool in pools:
        pool.dispose()


def test_a_pool_nobody_has_any_more_is_collected_and_its_connections_with_it(shared_database: str, admin: Admin):
    name = unique("dropped")
    engine = create_engine(
        sqlalchemy_url(shared_database),
        poolclass=ElasticPool,
        connect_args={"application_name": name},
        min_size=2,
        max_size=4,
        max_idle=1000,
        keepalive=1000,
    )
    surplus(engine.pool, 3)
    at_rest(engine.pool, idle=3)
    assert len(admin.pids(name)) == 3
    reference = weakref.ref(engine.pool)
    del engine

    def collected() -> bool:
        gc.collect()
        return reference() is None

    eventually(collected)
    eventually(lambda: not admin.pids(name))


@on_both
def test_alarms_do_not_pile_up(shared_database: str, monkeypatch: pytest.MonkeyPatch):
    alarms: list[tuple[float, Callable[[], None]]] = []
    monkeypatch.setattr(pool_class()._runtime_class, "call_at", lambda _, when, ring: alarms.append((when, ring)))
    connects = Connects(shared_database)
    pool = pool_on(connects, **QUIET | {"min_size": 2, "max_size": 2, "keepalive": 1000})
    done(pool.warm_up())
    at_rest(pool, idle=2)
    connects.error = refused
    held = pool.connect()
    held.invalidate()
    for failures in range(1, 11):  # probe after probe fails, each when its backoff is over
        eventually(lambda failures=failures: pool.stats().open_failures >= failures)
        at_rest(pool, opening=0)
        eventually(lambda: any(when < time.monotonic() + 10 for when, _ in alarms))
        with locked(pool) as ledger:
            ledger.reconnecting._delay = 0.0
        for alarm in [alarm for alarm in alarms if alarm[0] < time.monotonic() + 10]:
            alarms.remove(alarm)
            alarm[1]()
    connects.error = None
    later = [when for when, _ in alarms if when > time.monotonic() + 500]
    # However many were asked for, only one of them may do anything when its time comes.
    working = 0
    for _, ring in [alarm for alarm in alarms if alarm[0] in later]:
        before = len(alarms)
        ring()
        working += len(alarms) > before
    pool.dispose()
    assert working <= 1


@on_each_runtime
def test_warm_up_opens_the_minimum_in_parallel(shared_database: str):
    connects = Connects(shared_database)
    connects.gate.clear()
    pool = pool_on(connects, **QUIET | {"min_size": 5, "max_size": 8})
    warming = Task(pool.warm_up, 10)
    eventually(lambda: connects.under_way == 5)
    assert warming.is_alive()
    connects.gate.set()
    warming.outcome()
    stats = pool.stats()
    assert (stats.size, stats.idle, stats.waiting) == (5, 5, 0)
    assert connects.begun == connects.most == 5
    done(pool.warm_up())  # again: nothing to do
    assert connects.begun == 5
    pool.dispose()


@on_both
def test_warm_up_counts_what_is_out(shared_database: str):
    pool = pool_on(Connects(shared_database), **QUIET | {"min_size": 2, "max_size": 2})
    with pool.connect():
        done(pool.warm_up(10))
        assert pool.stats().size == 2
        with pool.connect():
            done(pool.warm_up(0))
    pool.dispose()


@on_both
@pytest.mark.parametrize("error", [refused, wrong_password])
def test_warm_up_raises_the_drivers_error_at_once(shared_database: str, error: Callable[[], Exception]):
    connects = Connects(shared_database)
    connects.error = error
    pool = pool_on(connects, **QUIET | {"min_size": 3})
    began = time.monotonic()
    with pytest.raises(operational_error(), match="connection to server"):
        done(pool.warm_up(60))
    assert time.monotonic() - began < 5
    at_rest(pool, size=0, waiting=0)
    connects.error = None
    done(pool.warm_up())
    assert pool.stats().idle == 3
    pool.dispose()


@on_both
def test_warm_up_that_takes_too_long_says_so(shared_database: str):
    connects = Connects(shared_database)
    connects.gate.clear()
    pool = pool_on(connects, **QUIET | {"min_size": 2})
    began = time.monotonic()
    with pytest.raises(PoolTimeoutError, match="2 opening"):
        done(pool.warm_up(0.1))
    assert time.monotonic() - began < 5
    assert pool.stats().waiting == 0
    connects.gate.set()
    at_rest(pool, idle=2)
    pool.dispose()


@on_both
def test_warm_up_names_its_own_timeout(shared_database: str):
    connects = Connects(shared_database)
    connects.gate.clear()
    pool = pool_on(connects, **QUIET | {"min_size": 1, "timeout": 30})
    try:
        with pytest.raises(PoolTimeoutError) as caught:
            done(pool.warm_up(0.1))
        assert "within timeout=0.1 s" in str(caught.value)
    finally:
        connects.gate.set()
