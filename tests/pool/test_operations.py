"""Operations on a running pool: ``resize`` and ``drain``, quiet and under load. For ``pause`` see ``test_pause.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, text

from dbkit.errors import SettingsError
from dbkit.pool.errors import PoolClosedError

from .helpers import (
    QUIET,
    Admin,
    Borrower,
    Connects,
    at_rest,
    engine_on,
    eventually,
    in_line,
    pid_of,
    pool_on,
    refused,
    unique,
)
from .runtimes import Flag, Task, done, on_both, on_each_runtime


class Crowd:
    """Threads or tasks that query until told to stop.

    Attributes:
        done: queries done by each.
        pids: the backends that served, in no order; clear it to see who serves from now on.
    """

    def __init__(self, engine: Engine, count: int) -> None:
        self.done = [0] * count
        self.pids: set[int] = set()
        self._engine = engine
        self._enough = Flag()
        self._tasks = [Task(self._work, me, name=f"crowd-{me}") for me in range(count)]

    def _work(self, me: int) -> None:
        while not self._enough.is_set():
            with self._engine.connect() as connection:
                self.pids.add(connection.scalar(text("SELECT pg_backend_pid()")))
            self.done[me] += 1

    def moves_on(self) -> None:
        """Wait until each thread has done another query."""
        before = self.done.copy()
        eventually(lambda: all(now > then for now, then in zip(self.done, before, strict=True)))

    def stop(self) -> None:
        """Stop; raise what any thread raised."""
        self._enough.set()
        for task in self._tasks:
            task.outcome()


@contextmanager
def crowd(engine: Engine, count: int = 16) -> Iterator[Crowd]:
    """So many threads at work, for the length of the block."""
    found = Crowd(engine, count)
    try:
        yield found
    finally:
        found.stop()


@contextmanager
def borrowed(pool: Any, count: int) -> Iterator[list[Borrower]]:
    """So many connections out, each held by a thread; given back at the end by those that still have one."""
    holders = [Borrower(pool, name=f"holder-{number}") for number in range(count)]
    eventually(lambda: all(holder.has_it.is_set() for holder in holders))
    try:
        yield holders
    finally:
        for holder in holders:
            holder.give_back()


def holds(stats: Any, most: int) -> None:
    """Assert what is true at every moment."""
    assert stats.idle + stats.in_use + stats.opening == stats.size <= most, stats
    assert min(stats.idle, stats.in_use, stats.opening, stats.waiting) >= 0, stats


# ---- resize


@on_both
def test_a_larger_pool_serves_its_line_at_once(shared_database: str, admin: Admin):
    name = unique("larger")
    with engine_on(shared_database, name=name, **QUIET | {"max_size": 2, "pool_timeout": 60}) as engine:
        with borrowed(engine.pool, 2):
            more = [Borrower(engine.pool) for _ in range(4)]
            in_line(engine.pool, 4)
            engine.pool.resize(max_size=5)
            eventually(lambda: sum(borrower.has_it.is_set() for borrower in more) == 3)
            assert len(admin.pids(name)) == 5
            in_line(engine.pool, 1)
            engine.pool.resize(max_size=6)
            eventually(lambda: all(borrower.has_it.is_set() for borrower in more))
            for borrower in more:
                borrower.give_back()
        assert engine.pool.stats().max_size == 6


@on_both
def test_a_larger_minimum_is_opened_at_once(shared_database: str, admin: Admin):
    name = unique("minimum")
    with engine_on(shared_database, name=name, **QUIET) as engine:
        engine.pool.resize(min_size=2)
        assert engine.pool.stats().size == 0  # nobody has used it
        with engine.connect():
            pass
        at_rest(engine.pool, idle=2)
        engine.pool.resize(min_size=5, max_size=7)
        at_rest(engine.pool, idle=5, min_size=5, max_size=7)
        assert len(admin.pids(name)) == 5


@on_both
def test_a_smaller_pool_closes_idle_ones_now_and_others_when_they_come_back(shared_database: str, admin: Admin):
    name = unique("smaller")
    with engine_on(shared_database, name=name, **QUIET | {"min_size": 6, "max_size": 6}) as engine:
        done(engine.pool.warm_up())
        with borrowed(engine.pool, 3) as holders:
            out = {holder.pid for holder in holders}
            engine.pool.resize(min_size=0, max_size=2)
            eventually(lambda: admin.pids(name) == out)  # the idle ones are gone, nobody's work is disturbed
            first, *others = holders
            first.give_back()
            eventually(lambda: first.pid not in admin.pids(name))
            for holder in others:
                holder.give_back()
        at_rest(engine.pool, size=2, idle=2)
        eventually(lambda: admin.pids(name) == {holder.pid for holder in others})
        assert engine.pool.stats().closes == {"resized": 4}


@on_both
def test_a_smaller_maximum_shrinks_a_surplus_by_upkeep(shared_database: str):
    numbers = QUIET | {"min_size": 4, "max_size": 4, "max_idle": 0.05}
    with engine_on(shared_database, **numbers) as engine:
        done(engine.pool.warm_up())
        engine.pool.resize(min_size=1)
        at_rest(engine.pool, size=1, idle=1)
        assert engine.pool.stats().closes == {"max_idle": 3}


@on_both
def test_a_connect_under_way_when_the_pool_becomes_smaller_is_closed_too(shared_database: str):
    connects = Connects(shared_database)
    with engine_on(shared_database, creator=connects, **QUIET | {"min_size": 4, "max_size": 4}) as engine:
        connects.gate.clear()
        warming = Task(engine.pool.warm_up, 60)
        eventually(lambda: connects.under_way == 4)
        engine.pool.resize(min_size=0, max_size=1)
        connects.gate.set()
        warming.outcome()
        at_rest(engine.pool, opening=0, in_use=0)
        assert engine.pool.stats().size <= 1


@on_both
@pytest.mark.parametrize(
    ("numbers", "guilty"),
    [
        ({"max_size": 0}, "max_size"),
        ({"max_size": 1}, "min_size"),
        ({"min_size": 5}, "min_size"),
        ({"min_size": -1}, "min_size"),
        ({"max_size": "8"}, "max_size"),
        ({"min_size": True}, "min_size"),
        ({"min_size": 1, "max_size": 2.5}, "max_size"),
    ],
)
def test_bad_numbers_change_nothing(shared_database: str, numbers: dict[str, Any], guilty: str):
    with engine_on(shared_database, **QUIET | {"min_size": 2, "max_size": 4}) as engine:
        done(engine.pool.warm_up())
        before = engine.pool.policy, engine.pool.stats()
        with pytest.raises(SettingsError) as caught:
            engine.pool.resize(**numbers)
        assert {fault.key for fault in caught.value.faults} == {guilty}
        assert (engine.pool.policy, engine.pool.stats().closes) == (before[0], {})
        with borrowed(engine.pool, 4):
            assert engine.pool.stats().size == engine.pool.size() == 4


@on_both
def test_resizing_to_the_same_numbers_does_nothing(shared_database: str):
    with engine_on(shared_database, **QUIET | {"min_size": 2, "max_size": 4}) as engine:
        done(engine.pool.warm_up())
        engine.pool.resize()
        engine.pool.resize(min_size=2, max_size=4)
        stats = engine.pool.stats()
        assert (stats.size, stats.opens, stats.closes) == (2, 2, {})


@on_both
def test_the_engines_next_pool_has_the_new_numbers(shared_database: str):
    with engine_on(shared_database, max_size=3, max_lifetime=900, max_waiting=7) as engine:
        engine.pool.resize(min_size=1, max_size=5)
        resized = engine.pool.policy
        engine.dispose()
        assert engine.pool.policy == resized
        assert (resized.min_size, resized.max_size, resized.max_lifetime, resized.max_waiting) == (1, 5, 900, 7)
        assert engine.pool.stats().max_size == engine.pool.size() == 5


@on_both
def test_resizing_under_load(shared_database: str, admin: Admin):
    name = unique("load")
    with engine_on(shared_database, name=name, **QUIET | {"max_size": 8, "pool_timeout": 60}) as engine:
        with crowd(engine) as working:
            for most in (2, 12, 1, 8, 3):
                at_rest(engine.pool, opening=0)  # see the test above that is expected to fail
                engine.pool.resize(max_size=most)
                eventually(lambda most=most: engine.pool.stats().size <= most)
                for _ in range(20):
                    holds(engine.pool.stats(), most)
                working.moves_on()
                eventually(lambda most=most: len(admin.pids(name)) <= most)
        at_rest(engine.pool, waiting=0, in_use=0)
        assert engine.pool.stats().size <= 3


# ---- drain


@on_each_runtime
def test_draining_a_quiet_pool_replaces_everything_new_before_old(shared_database: str, admin: Admin):
    connects = Connects(shared_database, unique("drain"))
    with engine_on(shared_database, creator=connects, **QUIET | {"min_size": 3, "max_size": 6}) as engine:
        done(engine.pool.warm_up())
        old = admin.pids(connects.name)
        connects.gate.clear()
        engine.pool.drain()
        eventually(lambda: connects.under_way == 3)  # in parallel
        with engine.connect() as connection:  # and the old ones serve meanwhile
            assert pid_of(connection) in old
            assert admin.pids(connects.name) == old
        connects.gate.set()
        eventually(lambda: not admin.pids(connects.name) & old)
        at_rest(engine.pool, idle=3, size=3, opening=0)
        assert engine.pool.stats().closes == {"drained": 3}


@on_both
def test_draining_takes_what_is_out_when_it_comes_back(shared_database: str, admin: Admin):
    name = unique("out")
    with engine_on(shared_database, name=name, **QUIET | {"max_size": 2}) as engine:
        with borrowed(engine.pool, 1) as [holder]:
            engine.pool.drain()
            assert holder.pid in admin.pids(name)
            assert holder.give_back()
            eventually(lambda: holder.pid not in admin.pids(name))
        with engine.connect() as connection:
            assert pid_of(connection) != holder.pid


@on_both
def test_draining_a_pool_of_one(shared_database: str, admin: Admin):
    name = unique("one")
    with engine_on(shared_database, name=name, **QUIET | {"min_size": 1, "max_size": 1}) as engine:
        seen = set()
        for _ in range(5):
            with engine.connect() as connection:
                seen.add(pid_of(connection))
            engine.pool.drain()
            eventually(lambda: not admin.pids(name) & seen)
        at_rest(engine.pool, idle=1)
        assert len(seen) == 5


@on_each_runtime
def test_draining_under_load_is_seen_by_nobody(shared_database: str, admin: Admin):
    name = unique("drained")
    numbers = QUIET | {"min_size": 3, "max_size": 6, "pool_timeout": 60}
    with engine_on(shared_database, name=name, **numbers) as engine:
        done(engine.pool.warm_up())
        with crowd(engine) as working:
            working.moves_on()
            for _ in range(4):
                old = admin.pids(name)
                engine.pool.drain()
                for _ in range(20):
                    holds(engine.pool.stats(), 6)
                eventually(lambda old=old: not admin.pids(name) & old)
                working.moves_on()
                working.pids.clear()
                working.moves_on()
                assert not working.pids & old
        at_rest(engine.pool, waiting=0, in_use=0, opening=0)
        assert 3 <= engine.pool.stats().size <= 6
        eventually(lambda: len(admin.pids(name)) == engine.pool.stats().size)


@on_each_runtime
def test_draining_while_the_server_is_away_keeps_the_idle_ones(shared_database: str, admin: Admin):
    connects = Connects(shared_database, unique("away"))
    with engine_on(shared_database, creator=connects, **QUIET | {"min_size": 2, "max_size": 4}) as engine:
        done(engine.pool.warm_up())
        old = admin.pids(connects.name)
        connects.error = refused
        engine.pool.drain()
        eventually(lambda: engine.pool.stats().open_failures >= 2)
        assert admin.pids(connects.name) == old
        connects.error = None
        eventually(lambda: not admin.pids(connects.name) & old)
        at_rest(engine.pool, idle=2)


@on_each_runtime
def test_draining_while_the_server_is_away_keeps_what_comes_back(shared_database: str):
    connects = Connects(shared_database)
    numbers = QUIET | {"max_size": 2, "pool_timeout": 0.3}
    with engine_on(shared_database, creator=connects, **numbers) as engine:
        with borrowed(engine.pool, 1):
            connects.error = refused
            engine.pool.drain()
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1


@on_both
def test_an_unused_pool_and_a_closed_one_can_be_operated(shared_database: str):
    pool = pool_on(Connects(shared_database))
    pool.drain()
    assert done(pool.pause(0)) == ()
    pool.resume()
    pool.resize(1, 3)
    assert pool.stats().size == 0
    assert done(pool.close()) == ()
    pool.drain()
    pool.resize(2, 4)
    pool.resume()
    assert done(pool.pause(0)) == ()
    assert pool.stats().size == 0
    with pytest.raises(PoolClosedError):
        pool.connect()
