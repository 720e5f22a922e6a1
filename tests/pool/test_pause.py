"""``pause`` and ``resume``: nobody is lent anything, everybody keeps their place, and nothing hangs."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest
from sqlalchemy import exc, text

from dbkit.pool.errors import PoolClosedError, PoolTimeoutError

from .helpers import QUIET, Admin, Borrower, Connects, at_rest, engine_on, eventually, in_line, locked, pid_of, unique
from .runtimes import Flag, Task, done, on_both, sleep
from .test_operations import borrowed, crowd


def is_paused(pool: Any) -> bool:
    """Whether ``pause`` has got that far."""
    with locked(pool) as ledger:
        return bool(ledger.paused)


@on_both
def test_a_quiet_pool_is_paused_at_once(shared_database: str):
    with engine_on(shared_database, **QUIET) as engine:
        with engine.connect():
            pass
        assert done(engine.pool.pause(60)) == ()
        assert engine.pool.stats().idle == 1  # PAUSE closes nothing


@on_both
def test_borrowers_wait_and_are_served_in_order_after_it(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 1, "pool_timeout": 60}) as engine:
        with engine.connect() as connection:
            pid = pid_of(connection)
        assert done(engine.pool.pause()) == ()
        served: list[int] = []

        def borrow(number: int) -> None:
            with engine.connect() as connection:
                served.append(number)
                assert pid_of(connection) == pid

        waiters = []
        for number in range(6):
            waiters.append(Task(borrow, number))
            in_line(engine.pool, number + 1)
        stats = engine.pool.stats()
        assert (stats.idle, stats.in_use, served) == (1, 0, [])
        engine.pool.resume()
        for waiter in waiters:
            waiter.outcome()
        assert served == list(range(6))


@on_both
@pytest.mark.parametrize("waiters", [0, 2])
def test_it_waits_for_what_is_out_and_no_longer(shared_database: str, waiters: int):
    with engine_on(shared_database, **QUIET | {"max_size": 2, "pool_timeout": 60}) as engine:
        with borrowed(engine.pool, 2) as holders:
            more = [Borrower(engine.pool) for _ in range(waiters)]
            in_line(engine.pool, waiters)
            pausing = Task(engine.pool.pause, 60)
            eventually(lambda: is_paused(engine.pool))
            for holder in holders:
                assert pausing.is_alive()
                holder.give_back()
            assert pausing.outcome() == ()
        assert not any(borrower.has_it.is_set() for borrower in more)
        engine.pool.resume()
        for borrower in more:
            borrower.give_back()


@on_both
def test_it_names_who_still_holds_something(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 3}) as engine:
        with borrowed(engine.pool, 2):
            found = done(engine.pool.pause(0.05))
            assert {holder.thread for holder in found} == {"holder-0", "holder-1"}
            assert all(holder.seconds >= 0.05 for holder in found)
            assert done(engine.pool.pause(0)) != ()
        assert done(engine.pool.pause(60)) == ()  # pausing again waits again
        engine.pool.resume()
        with engine.connect():  # two pauses, one resume
            pass


@on_both
def test_a_timeout_says_that_the_pool_is_paused(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 2, "pool_timeout": 0.05}) as engine:
        engine.pool.resize(min_size=1)
        done(engine.pool.warm_up(10))
        done(engine.pool.pause())
        with pytest.raises(
            PoolTimeoutError, match=r"1 idle.* The pool is paused; resume\(\) serves the line\."
        ) as caught:
            engine.connect()
        assert isinstance(caught.value, exc.TimeoutError)
        assert engine.pool.stats().waiting == 0
        engine.pool.resume()
        with engine.connect():
            pass


@on_both
def test_while_sixteen_work(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 4, "pool_timeout": 60}) as engine:
        with crowd(engine) as working:
            for _ in range(10):
                working.moves_on()
                assert done(engine.pool.pause(60)) == ()
                before = sum(working.done)
                stats = engine.pool.stats()
                assert (stats.in_use, stats.waiting <= 16) == (0, True)
                in_line(engine.pool, 16)  # those that had finished their query when the pause came wait, too
                assert sum(working.done) - before <= 16
                assert engine.pool.stats().in_use == 0
                engine.pool.resume()
        at_rest(engine.pool, in_use=0, waiting=0)


@on_both
def test_with_as_many_connections_as_threads(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 4, "pool_timeout": 60}) as engine:
        with crowd(engine, 4) as working:
            for _ in range(20):
                working.moves_on()
                assert done(engine.pool.pause(60)) == ()
                in_line(engine.pool, 4)
                engine.pool.resume()


@on_both
def test_who_resumes_ends_the_pause_of_another(shared_database: str):
    with engine_on(shared_database, **QUIET) as engine:
        with borrowed(engine.pool, 1):
            pausing = Task(engine.pool.pause, 60)
            eventually(lambda: is_paused(engine.pool))
            assert pausing.is_alive()
            engine.pool.resume()
            [holder] = pausing.outcome()
            assert holder.thread == "holder-0"


def test_ctrl_c_ends_the_wait_and_leaves_nothing_behind(shared_database: str):
    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    with engine_on(shared_database, **QUIET) as engine:
        previous = signal.signal(signal.SIGALRM, ring)
        try:
            with borrowed(engine.pool, 1):
                main = threading.get_ident()

                def watched() -> bool:
                    with locked(engine.pool) as ledger:
                        return bool(ledger.watchers)

                def interrupt() -> None:
                    eventually(watched)
                    signal.pthread_kill(main, signal.SIGALRM)

                interrupting = Task(interrupt)
                with pytest.raises(Alarm):
                    done(engine.pool.pause(60))
                interrupting.outcome()
        finally:
            signal.signal(signal.SIGALRM, previous)
        assert is_paused(engine.pool)
        with locked(engine.pool) as ledger:
            assert ledger.watchers == []
        engine.pool.resume()
        with engine.connect():
            pass


@on_both
def test_a_paused_pool_may_be_resized_and_drained(shared_database: str, admin: Admin):
    name = unique("paused")
    with engine_on(shared_database, name=name, **QUIET | {"min_size": 2, "max_size": 2}) as engine:
        done(engine.pool.warm_up())
        old = admin.pids(name)
        done(engine.pool.pause())
        engine.pool.resize(min_size=3, max_size=3)
        engine.pool.drain()
        eventually(lambda: len(admin.pids(name) - old) == 3 and not admin.pids(name) & old)
        engine.pool.resume()
        with borrowed(engine.pool, 3):
            pass


@on_both
def test_a_connect_under_way_waits_for_the_resume(shared_database: str):
    connects = Connects(shared_database)
    with engine_on(shared_database, creator=connects, **QUIET | {"max_size": 1, "pool_timeout": 60}) as engine:
        connects.gate.clear()
        borrower = Borrower(engine.pool)
        eventually(lambda: connects.under_way == 1)
        assert done(engine.pool.pause(60)) == ()
        connects.gate.set()
        at_rest(engine.pool, idle=1, waiting=1)
        engine.pool.resume()
        borrower.give_back()


@on_both
def test_closing_a_paused_pool(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 2, "pool_timeout": 60}) as engine:
        with borrowed(engine.pool, 1):
            pausing = Task(engine.pool.pause, 60)
            eventually(lambda: is_paused(engine.pool))
            waiter = Task(engine.connect)
            in_line(engine.pool, 1)
            closing = Task(engine.pool.close, 60)
            with pytest.raises(PoolClosedError):
                waiter.outcome()
            assert pausing.is_alive()
            assert closing.is_alive()
        assert pausing.outcome() == closing.outcome() == ()


@on_both
def test_disposing_of_a_paused_engine(shared_database: str, admin: Admin):
    name = unique("disposed")
    with engine_on(shared_database, name=name, **QUIET | {"max_size": 2, "pool_timeout": 60}) as engine:
        with borrowed(engine.pool, 1):
            paused = engine.pool
            pausing = Task(paused.pause, 60)
            eventually(lambda: is_paused(paused))
            waiter = Task(lambda: paused.connect().close())
            in_line(paused, 1)
            engine.dispose()
            assert pausing.is_alive()
        assert pausing.outcome() == ()
        paused.resume()
        waiter.outcome()
        assert is_paused(engine.pool)  # the pool in its place is paused, too
        engine.pool.resume()
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        paused.dispose()


@on_both
def test_pausing_and_resuming_from_many_threads(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 3, "pool_timeout": 60}) as engine:
        with crowd(engine, 6) as working:
            enough = Flag()

            def meddle() -> None:
                while not enough.is_set():
                    done(engine.pool.pause(0.01))
                    engine.pool.resume()
                    sleep(0)

            meddlers = [Task(meddle) for _ in range(3)]
            working.moves_on()
            working.moves_on()
            enough.set()
            for meddler in meddlers:
                meddler.outcome()
            engine.pool.resume()
            working.moves_on()
        at_rest(engine.pool, in_use=0, waiting=0)
