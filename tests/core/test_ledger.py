"""The ledger as a story: after each step, the whole pool in one line."""

from __future__ import annotations

import dataclasses

from dbkit.core.reasons import CloseReason
from dbkit.core.types import Check

from .ledgers import Waiter, book, borrowed, closed, fail, give_back, grow, queued, todo


def test_the_first_borrow_of_an_unused_pool():
    pool = book(min_size=2, max_size=10)
    assert repr(pool) == "<2-10: 0 idle, 0 in use, 0 opening; 0 waiting>"
    waiter = queued(pool)
    assert repr(pool) == "<2-10: 0 idle, 0 in use, 1 opening; 1 waiting>"
    grow(pool)
    assert repr(pool) == "<2-10: 0 idle, 1 in use, 1 opening; 0 waiting>"
    grow(pool)
    assert repr(pool) == "<2-10: 1 idle, 1 in use, 0 opening; 0 waiting>"
    give_back(pool, waiter.slot, 1.0)
    assert repr(pool) == "<2-10: 2 idle, 0 in use, 0 opening; 0 waiting>"


def test_a_burst_grows_the_pool_to_its_maximum_and_no_further():
    pool = book(min_size=0, max_size=3)
    for _ in range(5):
        queued(pool)
    assert repr(pool) == "<0-3: 0 idle, 0 in use, 3 opening; 5 waiting>"
    slots = grow(pool)
    assert repr(pool) == "<0-3: 0 idle, 3 in use, 0 opening; 2 waiting>"
    give_back(pool, slots[0], 1.0)
    assert repr(pool) == "<0-3: 0 idle, 3 in use, 0 opening; 1 waiting>"
    give_back(pool, slots[1], 1.0)
    give_back(pool, slots[2], 1.0)
    assert repr(pool) == "<0-3: 1 idle, 2 in use, 0 opening; 0 waiting>"


def test_a_burst_ebbs_away():
    pool = book(min_size=1, max_size=3, max_idle=10, keepalive=None)
    for slot in borrowed(pool, 3):
        give_back(pool, slot, 0.0)
    assert repr(pool) == "<1-3: 3 idle, 0 in use, 0 opening; 0 waiting>"
    pool.upkeep(9.0)
    assert repr(pool) == "<1-3: 3 idle, 0 in use, 0 opening; 0 waiting>"
    pool.upkeep(10.0)
    assert repr(pool) == "<1-3: 1 idle, 0 in use, 0 opening; 0 waiting>"


def test_a_waiter_gives_up():
    pool = book(min_size=0, max_size=1)
    borrowed(pool, 1)
    waiter = queued(pool)
    assert repr(pool) == "<0-1: 0 idle, 1 in use, 0 opening; 1 waiting>"
    pool.time_out(waiter, 30.0)
    assert repr(pool) == "<0-1: 0 idle, 1 in use, 0 opening; 0 waiting>"


def test_a_connection_is_quiet_for_long_checked_and_found_dead():
    pool = book(min_size=1, max_size=2, keepalive=60)
    [slot] = borrowed(pool, 1)
    give_back(pool, slot, 0.0)
    pool.upkeep(60.0)
    assert repr(pool) == "<1-2: 0 idle, 0 in use, 1 opening; 0 waiting>"
    todo(pool, Check)
    pool.checked(slot, 60.1, alive=False)
    assert repr(pool) == "<1-2: 0 idle, 0 in use, 1 opening; 0 waiting>"
    grow(pool, 60.2)
    assert repr(pool) == "<1-2: 1 idle, 0 in use, 0 opening; 0 waiting>"


def test_the_server_restarts_under_two_borrowers_and_a_waiter():
    pool = book(min_size=1, max_size=2)
    first, second = borrowed(pool, 2)
    queued(pool)
    pool.discard(first, 1.0, CloseReason.DEAD)
    assert repr(pool) == "<1-2: 0 idle, 1 in use, 1 opening; 1 waiting>"
    fail(pool, 1.0)
    assert repr(pool) == "<1-2: 0 idle, 1 in use, 0 opening; 1 waiting>"
    pool.discard(second, 1.05, CloseReason.DEAD)
    assert repr(pool) == "<1-2: 0 idle, 0 in use, 0 opening; 1 waiting>"
    pool.upkeep(1.1)
    assert repr(pool) == "<1-2: 0 idle, 0 in use, 1 opening; 1 waiting>"
    grow(pool, 1.2)
    assert repr(pool) == "<1-2: 0 idle, 1 in use, 0 opening; 0 waiting>"


def test_a_failover_is_prepared_pause_drain_resume():
    pool = book(min_size=2, max_size=2)
    out, idle = borrowed(pool, 2)
    give_back(pool, idle, 1.0)
    pool.pause(2.0)
    queued(pool, 2.0)
    assert repr(pool) == "<2-2: 1 idle, 1 in use, 0 opening; 1 waiting; paused>"
    give_back(pool, out, 3.0)
    assert repr(pool) == "<2-2: 2 idle, 0 in use, 0 opening; 1 waiting; paused>"
    pool.drain(4.0)
    assert repr(pool) == "<2-2: 1 idle, 0 in use, 1 opening; 1 waiting; paused; draining>"
    grow(pool, 5.0)
    assert repr(pool) == "<2-2: 1 idle, 0 in use, 1 opening; 1 waiting; paused>"
    grow(pool, 6.0)
    pool.resume(7.0)
    assert repr(pool) == "<2-2: 1 idle, 1 in use, 0 opening; 0 waiting>"


def test_the_pool_is_made_smaller_under_load():
    pool = book(min_size=0, max_size=4)
    slots = borrowed(pool, 4)
    pool.resize(dataclasses.replace(pool.policy, max_size=2), 1.0)
    queued(pool, 1.0)
    assert repr(pool) == "<0-2: 0 idle, 4 in use, 0 opening; 1 waiting>"
    give_back(pool, slots[0], 2.0)
    assert repr(pool) == "<0-2: 0 idle, 3 in use, 0 opening; 1 waiting>"
    give_back(pool, slots[1], 2.0)
    assert repr(pool) == "<0-2: 0 idle, 2 in use, 0 opening; 1 waiting>"
    give_back(pool, slots[2], 2.0)
    assert repr(pool) == "<0-2: 0 idle, 2 in use, 0 opening; 0 waiting>"


def test_sqlalchemy_disposes_of_the_pool_and_uses_it_again():
    pool = book(min_size=2, max_size=4)
    [out] = borrowed(pool, 1)
    grow(pool)
    assert repr(pool) == "<2-4: 1 idle, 1 in use, 0 opening; 0 waiting>"
    pool.dispose(1.0)
    assert repr(pool) == "<2-4: 0 idle, 1 in use, 0 opening; 0 waiting>"
    give_back(pool, out, 2.0)
    assert repr(pool) == "<2-4: 0 idle, 0 in use, 0 opening; 0 waiting>"
    borrowed(pool, 1, 3.0)
    assert repr(pool) == "<2-4: 0 idle, 1 in use, 1 opening; 0 waiting>"


def test_the_server_went_away_under_everybody():
    pool = book(min_size=0, max_size=3)
    first, second, idle = borrowed(pool, 3)
    give_back(pool, idle, 0.5)
    pool.invalidate(first, 1.0)
    assert repr(pool) == "<0-3: 0 idle, 2 in use, 0 opening; 0 waiting>"
    pool.discard(first, 1.0, CloseReason.INVALIDATED)
    pool.invalidate(second, 1.1)
    give_back(pool, second, 1.1)
    assert repr(pool) == "<0-3: 0 idle, 0 in use, 0 opening; 0 waiting>"


def test_the_pool_is_closed_while_one_is_out_one_is_opening_and_one_waits():
    pool = book(min_size=0, max_size=2)
    [out] = borrowed(pool, 1)
    queued(pool)
    closer = Waiter(1.0)
    pool.close(1.0, closer)
    assert repr(pool) == "<0-2: 0 idle, 1 in use, 1 opening; 0 waiting; closed>"
    grow(pool, 2.0)
    assert repr(pool) == "<0-2: 0 idle, 1 in use, 0 opening; 0 waiting; closed>"
    assert closer not in pool.to_wake
    give_back(pool, out, 3.0)
    assert repr(pool) == "<0-2: 0 idle, 0 in use, 0 opening; 0 waiting; closed>"
    assert closer in pool.to_wake
    assert {reason for _, reason in closed(pool)} == {CloseReason.CLOSED}


def test_warming_up_takes_nothing_from_anybody():
    pool = book(min_size=3, max_size=3)
    watcher = Waiter(0.0)
    pool.warm_up(watcher, 0.0)
    assert repr(pool) == "<3-3: 0 idle, 0 in use, 3 opening; 0 waiting>"
    queued(pool)
    grow(pool)
    assert repr(pool) == "<3-3: 2 idle, 1 in use, 0 opening; 0 waiting>"
    assert watcher in pool.to_wake
