"""One deadline covers everything a borrower waits for, Ctrl-C gets through, and the error says who has what."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import textwrap
import time
import weakref
from typing import Any

import pytest
from sqlalchemy import exc, text

from dbkit.errors import DbkitError, SettingsError
from dbkit.pool.errors import PoolTimeoutError

from .every_line import Double
from .helpers import QUIET, Borrower, Connects, at_rest, count_pings, engine_on, eventually, in_line, pool_on, refused
from .runtimes import PATIENCE, Task, done, name_here, on_both, on_each_runtime


@on_both
def test_when_all_are_out_the_borrower_times_out_in_time_and_reads_who_has_them(shared_database: str):
    with engine_on(shared_database, **QUIET | {"min_size": 2, "max_size": 2, "pool_timeout": 0.2}) as engine:
        done(engine.pool.warm_up(10))
        holders = [Borrower(engine.pool, name=f"nightly-report-{number}") for number in range(2)]
        eventually(lambda: all(holder.has_it.is_set() for holder in holders))
        began = time.monotonic()
        with pytest.raises(PoolTimeoutError) as caught:
            engine.connect()
        took = time.monotonic() - began
        assert 0.2 <= took < 5
        message = str(caught.value)
        assert isinstance(caught.value, exc.TimeoutError)
        assert isinstance(caught.value, DbkitError)
        for part in ("0.2 s", "2 in use", "0 idle", "of max_size", "nightly-report-0", "nightly-report-1"):
            assert part in message
        assert "runtimes.py" in message  # where they are now
        assert "itself holds" not in message
        for holder in holders:
            holder.give_back()
        assert engine.pool.stats().timeouts == 1


@on_both
def test_one_borrow_may_have_a_timeout_of_its_own(shared_database: str):
    with engine_on(shared_database, **QUIET | {"min_size": 1, "max_size": 1, "pool_timeout": 60}) as engine:
        engine.pool.borrow(timeout=30).close()
        holder = Borrower(engine.pool)
        assert holder.has_it.wait(10)
        patient = Borrower(engine.pool)
        in_line(engine.pool, 1)
        began = time.monotonic()
        with pytest.raises(PoolTimeoutError, match=r"within timeout=0\.1 s"):
            engine.pool.borrow(timeout=0.1)
        assert 0.1 <= time.monotonic() - began < 10
        in_line(engine.pool, 1)  # the other, who has the pool's own timeout
        holder.give_back()
        patient.give_back()


@on_both
def test_a_timeout_of_its_own_is_not_the_next_ones_on_the_thread():
    pool = pool_on(Double, **QUIET | {"max_size": 1, "timeout": 0.2})
    held = pool.borrow(PATIENCE)
    with pytest.raises(PoolTimeoutError, match=r"within timeout=0\.01 s"):
        pool.borrow(0.01)
    with pytest.raises(PoolTimeoutError, match=r"within timeout=0\.2 s"):
        pool.connect()
    held.close()


@on_both
@pytest.mark.parametrize("timeout", [-1, "1", float("nan"), True])
def test_a_timeout_that_is_none_is_refused(shared_database: str, timeout):
    with (
        engine_on(shared_database, **QUIET) as engine,
        pytest.raises(SettingsError, match="timeout"),
    ):
        engine.pool.borrow(timeout)


@on_both
def test_a_thread_that_waits_for_itself_is_told_so(shared_database: str):
    with engine_on(shared_database, **QUIET | {"min_size": 1, "max_size": 1, "pool_timeout": 0.05}) as engine:
        done(engine.pool.warm_up(10))
        with engine.connect(), pytest.raises(PoolTimeoutError, match="itself holds one of them") as caught:
            engine.connect()
    assert "test_borrow_timeout.py" in str(caught.value)
    assert name_here() in str(caught.value)


@on_each_runtime
def test_a_connect_that_hangs_costs_the_borrower_its_timeout_and_no_more(shared_database: str):
    connects = Connects(shared_database)
    connects.gate.clear()
    pool = pool_on(connects, **QUIET | {"max_size": 1, "timeout": 0.2})
    began = time.monotonic()
    with pytest.raises(PoolTimeoutError, match="1 opening"):
        pool.connect()
    assert time.monotonic() - began < 5
    assert pool.stats().waiting == 0
    connects.gate.set()
    at_rest(pool, idle=1, opening=0)  # what came too late is kept for the next
    pool.connect().close()
    assert connects.begun == 1
    pool.dispose()


@on_both
def test_an_error_names_the_last_failure_of_an_outage(shared_database: str):
    connects = Connects(shared_database)
    pool = pool_on(connects, **QUIET | {"max_size": 1, "timeout": 0.2})
    pool.borrow(30).invalidate()
    connects.error = refused
    with pytest.raises(PoolTimeoutError, match=r"cannot be reached.* \d+ attempts.*refused") as caught:
        pool.connect()
    assert "Connection refused" in str(caught.value.__cause__)
    connects.error = None
    pool.dispose()


@on_both
def test_a_failed_connect_keeps_nothing_of_the_borrower_alive(shared_database: str):
    class Precious:
        pass

    connects = Connects(shared_database)
    connects.error = refused
    pool = pool_on(connects, **QUIET)

    def borrow() -> weakref.ref[Precious]:
        precious = Precious()
        reference = weakref.ref(precious)
        try:
            pool.connect()
        except Exception:
            return reference
        raise AssertionError("connected")

    reference = borrow()
    at_rest(pool, opening=0)
    eventually(lambda: gc.collect() >= 0 and reference() is None)  # the connecting thread has ended, too


@on_both
def test_a_long_list_of_holders_is_cut(shared_database: str):
    with engine_on(shared_database, **QUIET | {"min_size": 13, "max_size": 13, "pool_timeout": 0.05}) as engine:
        done(engine.pool.warm_up(10))
        held = [engine.raw_connection() for _ in range(13)]
        with pytest.raises(PoolTimeoutError, match="and 3 more") as caught:
            engine.connect()
        assert str(caught.value).count(f"{name_here()} for ") == 10
        for connection in held:
            connection.close()


@on_both
def test_holders_come_oldest_first_with_their_ages(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 3}) as engine:
        first = Borrower(engine.pool, name="first")
        assert first.has_it.wait(10)
        second = Borrower(engine.pool, name="second")
        assert second.has_it.wait(10)
        holders = engine.pool.holders()
        assert [holder.thread for holder in holders] == ["first", "second"]
        assert holders[0].seconds >= holders[1].seconds >= 0
        assert all(holder.where for holder in holders)
        first.give_back()
        second.give_back()
        assert engine.pool.holders() == ()


@on_both
def test_a_holder_whose_thread_has_ended_is_said_to(shared_database: str):
    with engine_on(shared_database, **QUIET | {"min_size": 1, "max_size": 1, "pool_timeout": 0.05}) as engine:
        done(engine.pool.warm_up(10))
        kept: list[Any] = []
        Task(lambda: kept.append(engine.raw_connection())).outcome()
        with pytest.raises(PoolTimeoutError, match="has ended"):
            engine.connect()
        kept.pop().close()


@on_each_runtime
def test_pre_ping_works_as_sqlalchemy_defines_it(shared_database: str):
    with engine_on(shared_database, pool_pre_ping=True, **QUIET | {"max_size": 1}) as engine:
        pings = count_pings(engine)
        for _ in range(3):
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT 1")) == 1
        assert len(pings) == 2  # not for the one just opened


INTERRUPTED = """
    import os, signal, sys, threading
    from sqlalchemy import create_engine
    from dbkit.pool.elastic import ElasticPool

    engine = create_engine(sys.argv[1], poolclass=ElasticPool, min_size=0, max_size=1, pool_timeout=60)
    held = engine.raw_connection()

    def interrupt():
        while engine.pool.stats().waiting == 0:
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        engine.connect()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    stats = engine.pool.stats()
    assert (stats.in_use, stats.waiting) == (1, 0), stats
    held.close()
    with engine.connect():
        pass
    print(engine.pool.stats().idle)
"""


def test_ctrl_c_gets_through_to_a_borrower_in_line(shared_database: str):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(INTERRUPTED),
            shared_database.replace("postgresql://", "postgresql+psycopg2://"),
        ],
        capture_output=True,
        text=True,
        timeout=30,  # half of the pool's own timeout: it was the interrupt that ended the wait
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["interrupted", "1"]


def test_a_signal_handler_that_raises_ends_the_wait(shared_database: str):
    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    with engine_on(shared_database, **QUIET | {"max_size": 1, "pool_timeout": 60}) as engine:
        held = engine.raw_connection()
        previous = signal.signal(signal.SIGALRM, ring)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Alarm):
                engine.connect()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        in_line(engine.pool, 0)
        held.close()
        at_rest(engine.pool, idle=1, in_use=0)
