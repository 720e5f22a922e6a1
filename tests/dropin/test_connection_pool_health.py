"""``ConnectionPool`` lends no connection that is not healthy or was idle for too long."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from dbkit.dropin.connection_pool import ConnectionPool

from ..pool.helpers import Task, eventually
from .mock_database import MockDatabase, next_of, numbers_of


def test_one_that_is_not_healthy_when_it_comes_back_is_replaced(
    make_pool: Callable[..., ConnectionPool], mock: MockDatabase
):
    pool = make_pool(min_size=1)
    conn = pool.acquire()
    mock.made[0].healthy = False
    pool.release(conn)
    eventually(lambda: mock.open() == [2])
    assert next_of(pool) == 2


@pytest.mark.parametrize("how", ["unhealthy", "failing", "closed by somebody"])
def test_one_that_goes_bad_while_idle_is_replaced_before_it_is_lent(
    make_pool: Callable[..., ConnectionPool], mock: MockDatabase, how: str, caplog: Any
):
    pool = make_pool(min_size=2)
    bad = mock.made[:2]
    for conn in bad:
        conn.healthy = {"unhealthy": False, "failing": OSError("gone")}.get(how, True)
        conn.is_open = how != "closed by somebody"
    lent = [pool.acquire(), pool.acquire()]
    assert sorted(conn.number for conn in lent) == [3, 4]
    for conn in lent:
        pool.release(conn)
    eventually(lambda: [conn.closes for conn in bad] == [int(how != "closed by somebody")] * 2)
    assert ("could not tell whether it is healthy" in caplog.text) == (how == "failing")


def test_one_found_unfit_once_is_not_trusted_again(make_pool: Callable[..., ConnectionPool], mock: MockDatabase):
    pool = make_pool(min_size=1, max_size=1)
    answers = iter([False])
    mock.made[0].healthy = lambda: next(answers, True)  # says no, and then yes for ever
    assert next_of(pool) == 2


def test_a_database_that_calls_everything_unhealthy_gives_connections_all_the_same(
    make_pool: Callable[..., ConnectionPool], mock: MockDatabase
):
    mock.healthy = False
    pool = make_pool(min_size=2)
    seen = []
    for _ in range(5):
        with pool.connection() as conn:
            seen.append(conn.number)
    assert len(set(seen)) == 5
    assert numbers_of(pool)[2] == 0


def test_health_is_asked_of_nobody_elses_connection(make_pool: Callable[..., ConnectionPool], mock: MockDatabase):
    """``is_healthy()`` may be a query: never while another is at work on it. Nor is a connection in two hands."""
    dice = random.Random(4)
    mock.healthy = lambda: dice.random() > 0.3
    pool = make_pool(min_size=2, max_size=4, max_idle_time=0.02)

    def work(seed: int) -> None:
        mine = random.Random(seed)
        for _ in range(40):
            with pool.connection() as conn:
                with conn.alone():
                    assert not conn.lent
                    conn.lent = True
                for _ in range(mine.randrange(20)):
                    conn.execute("x")
                conn.lent = False
            total, available, in_use = numbers_of(pool)
            assert total == available + in_use <= 4

    for task in [Task(work, seed) for seed in range(8)]:
        task.outcome()
    assert sum(conn.asked for conn in mock.made) > 100
    assert sum(conn.closes for conn in mock.made) > 10  # unhealthy ones
    assert numbers_of(pool)[2] == 0
    assert all(conn.closes <= 1 for conn in mock.made)


def test_idle_connections_expire_and_are_replaced_also_below_the_minimum(
    make_pool: Callable[..., ConnectionPool], mock: MockDatabase
):
    pool = make_pool(min_size=2, max_idle_time=0.05)
    eventually(lambda: len(mock.made) >= 6 and not mock.made[0].is_open and not mock.made[1].is_open)
    assert next_of(pool) > 2
    eventually(lambda: numbers_of(pool)[0] >= 2)


def test_a_surplus_that_expires_is_closed(make_pool: Callable[..., ConnectionPool], mock: MockDatabase):
    pool = make_pool(min_size=0, max_size=3, max_idle_time=0.05)
    conns = [pool.acquire() for _ in range(3)]
    for conn in conns:
        pool.release(conn)
    eventually(lambda: numbers_of(pool) == (0, 0, 0) and not mock.open())
    assert len(mock.made) == 3


def test_one_that_is_out_does_not_expire(make_pool: Callable[..., ConnectionPool], mock: MockDatabase):
    pool = make_pool(min_size=1, max_size=2, max_idle_time=0.05)
    conn = pool.acquire()
    other = pool.acquire()
    pool.release(other)
    eventually(lambda: not mock.made[1].is_open)  # so as much time has passed
    assert conn.execute("still here") == "1: still here"
    assert mock.made[0].is_open
    pool.release(conn)
