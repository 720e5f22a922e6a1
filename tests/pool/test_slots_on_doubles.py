"""A slot's life on doubles: why a connection goes, what is told of it, and what a deadline's time went into."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from dbkit.core.types import State
from dbkit.pool.elastic import ElasticPool
from dbkit.pool.errors import DeadlineExceeded, PoolTimeoutError
from dbkit.runtime.deadlines import Deadline
from dbkit.runtime.deadlines import current as current_deadline

from .every_line import Double
from .helpers import QUIET, Recorder, at_rest, eventually, in_line, locked, stale
from .runtimes import Task


class Mortal(Double):
    """A connection without a socket, so that it is pinged, whose server may be gone."""

    alive = True

    def fileno(self) -> int:
        return -1

    def cursor(self) -> Any:
        if not self.alive:
            raise ConnectionError
        return Cursor()


class Cursor:
    def execute(self, statement: str) -> None: ...

    def close(self) -> None: ...


def test_a_dead_one_is_invalidated_and_another_comes_in_its_place() -> None:
    pool = ElasticPool(Mortal, **QUIET | {"max_size": 1})
    held = pool.connect()
    held.driver_connection.alive = False
    held.close()
    recorder = Recorder(pool)
    stale(pool)
    with pool.connect() as again:
        assert again.driver_connection.alive
    assert pool.stats().closes == {"dead": 1}
    assert recorder.taken().count("invalidate") == 1


def test_one_too_many_is_closed_and_not_invalidated() -> None:
    pool = ElasticPool(Double, **QUIET | {"max_size": 2})
    held = [pool.connect(), pool.connect()]
    for connection in held:
        connection.close()
    recorder = Recorder(pool)
    pool.resize(max_size=1)
    at_rest(pool, idle=1)
    eventually(lambda: "close" in recorder.names)
    assert "invalidate" not in recorder.taken()


def test_detached_and_invalidated_ones_are_counted_apart() -> None:
    pool = ElasticPool(Double, **QUIET)
    detached, invalidated = pool.connect(), pool.connect()
    detached.detach()
    assert pool.stats().closes == {"detached": 1}
    invalidated.invalidate()
    assert pool.stats().closes == {"detached": 1, "invalidated": 1}
    at_rest(pool, size=0)
    detached.close()


def test_one_that_is_invalidated_twice_stays_invalid() -> None:
    pool = ElasticPool(Double, **QUIET)
    held = pool.connect()
    record, first = held._connection_record, held.driver_connection
    record.invalidate(soft=True)
    record.invalidate(soft=True)
    held.close()
    with pool.connect() as again:
        assert again.driver_connection is not first


def test_pings_go_on_for_as_long_as_a_connection_is_idle() -> None:
    pinged: list[float] = []

    class Pinged(Mortal):
        def cursor(self) -> Any:
            pinged.append(time.monotonic())
            return super().cursor()

    pool = ElasticPool(Pinged, **QUIET | {"keepalive": 0.02})
    pool.connect().close()
    eventually(lambda: len(pinged) >= 3)
    pool.close()


@pytest.mark.parametrize("keepalive", [0.5, 100.0])
def test_one_idle_for_twice_the_keepalive_is_asked_and_none_before(keepalive: float) -> None:
    """Upkeep asks once a ``keepalive``: that nobody did for two of them means that no upkeep runs."""
    asked: list[int] = []

    class Asked(Double):
        def cursor(self) -> Any:
            asked.append(1)
            return Cursor()

    pool = ElasticPool(Asked, **QUIET | {"keepalive": keepalive})

    def borrow_after(seconds: float) -> None:
        with locked(pool) as ledger:
            for slot in ledger.idle:
                slot.idle_since -= seconds
                slot.checked_at -= seconds
        pool.connect().close()

    pool.connect().close()
    if keepalive > 60:  # else upkeep may ask meanwhile
        borrow_after(0.9 * keepalive)
        assert not asked
    borrow_after(3 * keepalive)
    assert asked
    pool.close()


def test_a_slot_that_a_forked_child_forgets_lets_go_and_says_nothing() -> None:
    pool = ElasticPool(Double, **QUIET)
    held = pool.connect()
    slot: Any = held._connection_record
    connection = held.driver_connection
    slot.forget()
    assert slot.state is State.GONE
    assert slot.dbapi_connection is None
    assert not held.is_valid
    assert not connection.closed


def test_a_connection_is_opened_once_for_all_who_ask_its_slot() -> None:
    opened: list[Double] = []
    pool = ElasticPool(lambda: opened.append(Double()) or opened[-1], **QUIET)
    held = pool.connect()
    slot = held._connection_record
    assert slot.get_connection() is slot.get_connection() is opened[0]
    assert len(opened) == 1
    held.close()


@contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    made = Deadline(seconds)
    token = current_deadline.set(made)
    try:
        yield made
    finally:
        current_deadline.reset(token)


NAP = 0.1


@pytest.mark.parametrize("fails", [False, True])
def test_the_time_of_a_connect_is_told_apart(fails: bool) -> None:
    def connect() -> Double:
        time.sleep(NAP)
        if fails:
            raise ConnectionError
        return Double()

    pool = ElasticPool(connect, **QUIET)
    with deadline(60) as account:
        try:
            pool.connect().close()
        except ConnectionError:
            assert fails
        spent = account.spent()
        assert spent.connecting >= NAP
        time.sleep(NAP)
        assert account.spent().connecting == spent.connecting  # it is over


def test_the_time_in_line_is_told_apart() -> None:
    pool = ElasticPool(Double, **QUIET | {"max_size": 1})
    held = pool.connect()

    def wait() -> Any:
        with deadline(60) as account:
            pool.connect().close()
            return account.spent()

    waiting = Task(wait)
    in_line(pool, 1)
    time.sleep(NAP)
    held.close()
    assert waiting.outcome().waiting >= NAP


def test_a_deadline_ends_the_wait_and_one_that_is_past_does_not_begin_it() -> None:
    pool = ElasticPool(Double, **QUIET | {"max_size": 1, "timeout": 60})
    held = pool.connect()
    for seconds in (0.1, -5):
        with deadline(seconds), pytest.raises(DeadlineExceeded, match="is past"):
            pool.connect()
    held.close()


def test_a_borrow_may_use_no_more_than_its_own_timeout_of_a_deadline() -> None:
    pool = ElasticPool(Double, **QUIET | {"max_size": 1, "timeout": 0.05})
    held = pool.borrow(60)
    with deadline(60), pytest.raises(PoolTimeoutError, match=r"0\.05"):
        pool.connect()
    held.close()


def test_a_patience_holds_for_its_own_pool_alone() -> None:
    patient, other = (ElasticPool(Double, **QUIET | {"max_size": 1, "timeout": 0.05}) for _ in range(2))
    held, others = patient.borrow(60), other.borrow(60)
    with patient.patience(60):
        with pytest.raises(PoolTimeoutError, match=r"0\.05"):
            other.connect()
        giving = Task(lambda: (in_line(patient, 1), time.sleep(NAP), held.close()))
        patient.connect().close()
        giving.outcome()
    others.close()


def test_a_checkout_event_sees_the_slot_in_use() -> None:
    pool = ElasticPool(Double, **QUIET)
    seen: list[int] = []
    event.listen(pool, "checkout", lambda *_: seen.append(pool.stats().in_use))
    pool.connect().close()
    assert seen == [1]
