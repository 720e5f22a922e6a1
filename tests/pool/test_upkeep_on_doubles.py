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


class Failing:
    """A creator whose connects, once it is ``failing``, wait at the gate and are then refused."""

    def __init__(self) -> None:
        self.failing = False
        self.gate = threading.Event()

    def __call__(self) -> Double:
        if self.failing:
            assert self.gate.wait(60)
            raise refused()
        return Double()


@pytest.mark.parametrize("what", ["drain", "resize"])
def test_what_is_wanted_in_the_midst_of_a_backoff_is_opened_after_it(what: str) -> None:
    """The attempt failed after its borrower had left, so nobody but the operation sets an alarm."""
    creator = Failing()
    pool = ElasticPool(creator, **QUIET | {"max_size": 2})
    old = pool.connect()
    creator.failing = True
    with pytest.raises(PoolTimeoutError):
        pool.borrow(0.05)
    old.close()
    creator.gate.set()
    eventually(lambda: pool.stats().open_failures == 1)
    creator.failing = False
    if what == "drain":
        pool.drain()
        eventually(lambda: pool.stats().closes == {"drained": 1})
        at_rest(pool, idle=1)
    else:
        pool.resize(min_size=2)
        at_rest(pool, idle=2)


def test_each_of_several_goes_when_its_own_time_is_up() -> None:
    pool = ElasticPool(Double, **QUIET | {"max_idle": 0.2})
    first, second = pool.connect(), pool.connect()
    first.close()
    threading.Event().wait(0.1)
    second.close()
    eventually(lambda: pool.stats().closes == {"max_idle": 2})
