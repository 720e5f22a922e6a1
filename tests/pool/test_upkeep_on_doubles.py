"""Alarms and watchers, on doubles: what must go on by itself, and what must be over when it is over."""

from __future__ import annotations

import threading

import pytest

from dbkit.pool.elastic import ElasticPool
from dbkit.pool.errors import PoolTimeoutError

from .every_line import Double
from .helpers import QUIET, at_rest, eventually, locked, refused


def test_a_warm_up_that_is_over_is_waited_for_by_nobody() -> None:
    gate = threading.Event()

    def connect() -> Double:
        assert gate.wait(60)
        return Double()

    pool = ElasticPool(connect, **QUIET | {"min_size": 1})
    with pytest.raises(PoolTimeoutError):
        pool.warm_up(0.05)
    with locked(pool) as ledger:
        assert not ledger.watchers
    gate.set()
    at_rest(pool, idle=1)


@pytest.mark.parametrize("operation", ["pause", "close"])
def test_a_pause_and_a_close_that_are_over_are_waited_for_by_nobody(operation: str) -> None:
    pool = ElasticPool(Double, **QUIET)
    held = pool.connect()
    assert len(getattr(pool, operation)(0)) == 1
    with locked(pool) as ledger:
        assert not ledger.watchers
    held.close()


def test_a_drain_in_the_midst_of_a_backoff_goes_on_after_it() -> None:
    """Nobody waits, so nothing else would set an alarm."""
    up = True

    def connect() -> Double:
        if not up:
            raise refused()
        return Double()

    pool = ElasticPool(connect, **QUIET | {"max_size": 2})
    old = pool.connect()
    up = False
    with pytest.raises(PoolTimeoutError, match="Connection refused"):
        pool.borrow(0.05)
    old.close()
    up = True
    pool.drain()
    eventually(lambda: pool.stats().closes == {"drained": 1})
    at_rest(pool, idle=1)


def test_each_of_several_goes_when_its_own_time_is_up() -> None:
    pool = ElasticPool(Double, **QUIET | {"max_idle": 0.2})
    first, second = pool.connect(), pool.connect()
    first.close()
    threading.Event().wait(0.1)
    second.close()
    eventually(lambda: pool.stats().closes == {"max_idle": 2})


def test_a_larger_minimum_in_the_midst_of_a_backoff_is_opened_after_it() -> None:
    up = True

    def connect() -> Double:
        if not up:
            raise refused()
        return Double()

    pool = ElasticPool(connect, **QUIET | {"max_size": 3})
    held = pool.connect()
    up = False
    with pytest.raises(PoolTimeoutError, match="Connection refused"):
        pool.borrow(0.05)
    up = True
    pool.resize(min_size=3)
    at_rest(pool, idle=2, in_use=1)
    held.close()
