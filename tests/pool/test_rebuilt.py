"""Closed is closed and paused is paused, also for the pool that takes this one's place: after ``engine.dispose()``, or
in a forked child; and statistics go on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sqlalchemy import create_engine

from dbkit.pool.elastic import ElasticPool
from dbkit.pool.errors import PoolClosedError, PoolTimeoutError

from .every_line import Double
from .helpers import QUIET, at_rest, eventually, in_line, pool_on, slot_of
from .runtimes import Task, done, on_both


def a_pool(**numbers: object) -> ElasticPool:
    return pool_on(Double, **QUIET | {"max_size": 2, "timeout": 60} | numbers)


def test_a_closed_pool_stays_closed_when_the_engine_is_disposed():
    engine = create_engine("sqlite://", poolclass=ElasticPool, min_size=0)
    done(engine.pool.close())
    engine.dispose()
    with pytest.raises(PoolClosedError):
        engine.connect()


def test_a_paused_pool_stays_paused_when_the_engine_is_disposed():
    engine = create_engine("sqlite://", poolclass=ElasticPool, min_size=0)
    done(engine.pool.pause())
    engine.dispose()
    with pytest.raises(PoolTimeoutError, match="paused"):
        engine.pool.borrow(0.05)
    engine.pool.resume()
    engine.connect().close()


@on_both
def test_dispose_alone_opens_neither_a_closed_pool_nor_a_paused_one():
    closed, paused = a_pool(), a_pool(timeout=0.05)
    done(closed.close())
    done(paused.pause())
    for pool in (closed, paused):
        pool.dispose()
    with pytest.raises(PoolClosedError):
        closed.connect()
    with pytest.raises(PoolTimeoutError):
        paused.connect()


@on_both
def test_statistics_go_on():
    pool = a_pool()
    for _ in range(3):
        pool.connect().close()
    pool.dispose()
    after = pool.recreate()
    after.connect().close()
    stats = after.stats()
    assert stats.borrows == 4
    assert stats.use_time.count == 4
    assert stats.opens == 2
    assert stats.closes == {"disposed": 1}


CHILD = """
import os, sys
from dbkit import ElasticPool, PoolClosedError, PoolTimeoutError

pool = ElasticPool(object, min_size=0)
getattr(pool, sys.argv[1])()
child = os.fork()
if child == 0:
    try:
        pool.borrow(0.05)
    except PoolClosedError:
        os._exit(1)
    except PoolTimeoutError:
        os._exit(2)
    os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("operation", "status"), [("close", 1), ("pause", 2)])
def test_a_child_inherits_closed_and_paused(operation: str, status: int):
    """In a process of its own: a test runner with threads of its own had better not fork."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, operation], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == str(status), done.stderr


@on_both
def test_a_connection_that_its_holder_reconnects_while_the_pool_closes_is_refused_and_closed():
    made: list[Double] = []
    pool = pool_on(lambda: made.append(Double()) or made[-1], **QUIET)
    fairy = pool.connect()
    record = slot_of(fairy)
    record.invalidate()
    done(pool.close(timeout=0))
    with pytest.raises(PoolClosedError):
        record.get_connection()
    fairy.close()
    at_rest(pool, size=0)
    eventually(lambda: all(connection.closed for connection in made))  # on a loop by a job


@on_both
def test_a_pool_closed_in_the_midst_of_a_reconnect_keeps_nothing():
    made: list[Double] = []
    pool: ElasticPool

    def connect() -> Double:
        if made:  # the second is the reconnect
            done(pool.close(timeout=0))
        made.append(Double())
        return made[-1]

    pool = pool_on(connect, **QUIET)
    fairy = pool.connect()
    record = slot_of(fairy)
    record.invalidate()
    with pytest.raises(PoolClosedError):
        record.get_connection()
    assert made[-1].closed
    fairy.close()
    at_rest(pool, size=0)


@on_both
def test_a_wall_clock_that_steps_back_after_an_invalidation_costs_one_connection(monkeypatch: pytest.MonkeyPatch):
    made: list[Double] = []
    pool = pool_on(lambda: made.append(Double()) or made[-1], **QUIET)
    fairy = pool.connect()
    pool._invalidate(fairy, None)  # as SQLAlchemy does when a connection is lost
    fairy.close()
    monkeypatch.setattr("sqlalchemy.pool.base.time.time", lambda: 1000.0)
    for _ in range(20):
        pool.connect().close()
    assert len(made) == 2


@on_both
def test_dispose_while_a_connection_is_being_opened_opens_nothing_more():
    pool = a_pool(min_size=2)
    waiting = Task(pool.borrow, 60)
    waiting.outcome().close()
    at_rest(pool, idle=2)
    pool.drain()
    pool.dispose()
    for _ in range(3):
        pool.dispose()
    eventually(lambda: pool.stats().opening == 0)
    assert pool.stats().size == 0


@on_both
def test_resume_on_the_pool_itself_serves_those_who_waited():
    pool = a_pool()
    done(pool.pause())
    waiting = Task(pool.connect)
    in_line(pool, 1)
    pool.resume()
    waiting.outcome().close()
