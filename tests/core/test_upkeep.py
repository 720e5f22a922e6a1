"""The ledger: shrinking, ageing, keepalive and leaks, and when each is due."""

from __future__ import annotations

import math

import pytest

from dbkit.core.matching import JITTER
from dbkit.core.reasons import CloseReason
from dbkit.core.types import Check, Open, State

from .ledgers import Pool, Waiter, book, borrowed, closed, give_back, grow, queued, todo

NEVER = {"keepalive": None, "max_idle": None, "max_lifetime": None}


def idle(count: int, **numbers: object) -> tuple[Pool, list]:
    """Return a pool with so many idle connections, given back at 0.0, 1.0, ..."""
    ledger = book(**{**NEVER, **numbers})
    slots = borrowed(ledger, count)
    for when, slot in enumerate(slots):
        give_back(ledger, slot, float(when))
    return ledger, slots


class TestShrinking:
    def test_surplus_idle_connections_shrink_to_the_minimum_the_oldest_first(self):
        ledger, slots = idle(3, min_size=1, max_idle=10)
        assert ledger.next_due(2.0) == 10.0
        ledger.upkeep(9.9)
        assert closed(ledger) == []
        ledger.upkeep(10.0)
        assert closed(ledger) == [(slots[0], CloseReason.MAX_IDLE)]
        assert ledger.next_due(10.0) == 11.0
        ledger.upkeep(100.0)
        assert closed(ledger) == [(slots[1], CloseReason.MAX_IDLE)]
        ledger.upkeep(1000.0)
        assert closed(ledger) == [], "the minimum is no surplus, however long it is idle"
        assert ledger.size == 1
        assert ledger.next_due(1000.0) == math.inf

    def test_those_that_are_out_count_towards_the_minimum(self):
        ledger, slots = idle(3, min_size=2, max_idle=10)
        for _ in range(2):
            ledger.take(3.0, None)
        ledger.upkeep(50.0)
        assert closed(ledger) == [(slots[0], CloseReason.MAX_IDLE)]
        assert repr(ledger) == "<2-10: 0 idle, 2 in use, 0 opening; 0 waiting>"

    def test_without_max_idle_nothing_shrinks(self):
        ledger, _ = idle(3, min_size=0)
        ledger.upkeep(1e9)
        assert ledger.size == 3

    def test_when_all_are_out_the_first_may_be_surplus_max_idle_from_now(self):
        ledger = book(**{**NEVER, "min_size": 0, "max_idle": 10})
        borrowed(ledger, 1)
        assert ledger.next_due(5.0) == 15.0


class TestAgeing:
    def test_an_old_connection_retires_when_idle_and_on_return(self):
        ledger, (lying, out) = idle(2, min_size=2, max_size=2, max_lifetime=100)
        assert ledger.take(2.0, None) is out
        assert ledger.next_due(1.0) == 100.0
        ledger.upkeep(100.0)
        assert closed(ledger) == [(lying, CloseReason.MAX_LIFETIME)]
        assert len(grow(ledger, 100.0)) == 1
        give_back(ledger, out, 101.0)
        assert closed(ledger) == [(out, CloseReason.MAX_LIFETIME)]
        assert len(grow(ledger, 101.0)) == 1

    def test_an_old_connection_that_is_out_rings_nobody(self):
        ledger, _ = idle(1, min_size=0, max_lifetime=100)
        ledger.take(1.0, None)
        assert ledger.next_due(99.0) == 100.0
        assert ledger.next_due(100.0) == math.inf

    @pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
    def test_lifetimes_are_jittered_downwards_by_up_to_a_tenth(self, jitter):
        ledger = book(min_size=0, max_lifetime=100)
        queued(ledger)
        [action] = todo(ledger, Open)
        ledger.opened(action.slot, 0.0, seconds=0.0, jitter=jitter)
        assert JITTER == 0.1
        assert action.slot.retire_at == pytest.approx(100 - 10 * jitter)

    def test_a_herd_opened_together_retires_one_by_one(self):
        ledger = book(min_size=4, max_size=4, max_lifetime=100)
        ledger.warm_up(Waiter(0.0), 0.0)
        for number, action in enumerate(todo(ledger, Open)):
            ledger.opened(action.slot, 0.0, seconds=0.0, jitter=number / 4)
        gone = []
        for now in (93.0, 96.0, 98.0, 100.0):
            ledger.upkeep(now)
            gone.append(len(closed(ledger)))
            grow(ledger, now)
        assert gone == [1, 1, 1, 1]


class TestKeepalive:
    def test_a_connection_quiet_for_long_is_checked_and_lies_idle_again_as_old_as_before(self):
        ledger, [slot] = idle(1, min_size=1, keepalive=60)
        assert ledger.next_due(1.0) == 60.0
        ledger.upkeep(59.9)
        assert not todo(ledger, Check)
        ledger.upkeep(60.0)
        assert [action.slot for action in todo(ledger, Check)] == [slot]
        assert repr(ledger) == "<1-10: 0 idle, 0 in use, 1 opening; 0 waiting>"
        ledger.checked(slot, 62.0, alive=True)
        assert slot.state is State.IDLE
        assert slot.idle_since == 0.0
        assert ledger.next_due(62.0) == 122.0

    def test_the_last_ping_counts_so_anothers_alarm_pings_no_second_time(self):
        ledger, (first, second) = idle(2, min_size=2, keepalive=60)
        ledger.upkeep(60.0)
        assert [action.slot for action in todo(ledger, Check)] == [first]
        ledger.checked(first, 60.1, alive=True)
        ledger.upkeep(61.0)
        assert [action.slot for action in todo(ledger, Check)] == [second]

    def test_the_one_quiet_for_longest_is_the_next_to_be_checked(self):
        ledger, slots = idle(3, min_size=3, keepalive=10)
        assert ledger.next_due(2.0) == 10.0
        ledger.upkeep(10.0)
        assert [action.slot for action in todo(ledger, Check)] == [slots[0]]

    def test_a_dead_one_is_replaced(self):
        ledger, [slot] = idle(1, min_size=1, keepalive=60)
        ledger.suspect_idle(slot, 2.0)
        todo(ledger, Check)
        ledger.checked(slot, 3.0, alive=False)
        assert closed(ledger) == [(slot, CloseReason.DEAD)]
        assert len(grow(ledger, 3.0)) == 1

    def test_when_all_are_out_the_next_ping_may_be_due_keepalive_from_now(self):
        ledger = book(**{**NEVER, "min_size": 0, "keepalive": 60})
        assert ledger.next_due(5.0) == math.inf, "there is nothing to ping"
        borrowed(ledger, 1)
        assert ledger.next_due(5.0) == 65.0

    def test_a_check_that_ends_in_a_disposed_pool_revives_nothing(self):
        ledger, [slot] = idle(1, min_size=1)
        ledger.suspect_idle(slot, 1.0)
        ledger.dispose(2.0)
        ledger.checked(slot, 3.0, alive=True)
        assert closed(ledger) == [(slot, CloseReason.DISPOSED)]
        assert ledger.size == 0

    def test_a_check_that_ends_in_a_paused_pool_serves_nobody(self):
        ledger, [slot] = idle(1, min_size=0, max_size=1)
        ledger.suspect_idle(slot, 1.0)
        ledger.pause(1.0)
        waiter = queued(ledger, 1.0)
        ledger.checked(slot, 2.0, alive=True)
        assert (slot.state, waiter.slot) == (State.IDLE, None)


class TestLeaks:
    def test_a_leak_is_told_once_for_each_borrow(self):
        ledger = book(**{**NEVER, "min_size": 0, "leak_after": 10})
        [slot] = borrowed(ledger, 1, now=1.0)
        assert ledger.next_due(1.0) == 11.0
        assert ledger.leaks(10.9) == []
        assert ledger.leaks(11.0) == [slot]
        assert ledger.leaks(12.0) == []
        assert ledger.next_due(12.0) == math.inf
        give_back(ledger, slot, 20.0)
        ledger.take(21.0, None)
        assert ledger.next_due(21.0) == 31.0
        assert ledger.leaks(31.0) == [slot]
        assert ledger.totals.leaks == 2

    def test_an_idle_connection_is_no_leak_and_without_leak_after_nothing_is(self):
        ledger, _ = idle(1, min_size=0, leak_after=10)
        assert ledger.leaks(100.0) == []
        ledger = book(**NEVER)
        borrowed(ledger, 1)
        assert ledger.leaks(1e9) == []
