"""The ledger: what must go. Draining, disposing, invalidating, and connections that their holders open again."""

from __future__ import annotations

import math

from dbkit.core.reasons import CloseReason
from dbkit.core.types import Open, State

from .ledgers import book, borrowed, closed, fail, give_back, grow, queued, todo
from .test_operations import resize


class TestDraining:
    def test_new_before_old(self):
        ledger = book(min_size=2, max_size=4)
        old = borrowed(ledger, 2)
        for slot in old:
            give_back(ledger, slot, 0.0)
        ledger.drain(1.0)
        assert not closed(ledger), "the old ones serve until the new ones are there"
        out = ledger.take(1.0, None)
        assert out in old
        assert len(grow(ledger, 2.0)) == 2
        [(went, reason)] = closed(ledger)
        assert {went, out} == set(old)
        assert reason is CloseReason.DRAINED
        assert ledger.draining
        give_back(ledger, out, 3.0)
        assert closed(ledger) == [(out, CloseReason.DRAINED)]
        assert ledger.size == len(ledger.idle) == 2
        assert not ledger.draining
        assert ledger.quiet_until == math.inf

    def test_an_old_one_that_comes_back_serves_the_line_until_a_new_one_was_ever_opened(self):
        ledger = book(min_size=0, max_size=2)
        [old] = borrowed(ledger, 1)
        ledger.drain(1.0)
        [scout] = todo(ledger, Open)
        waiter = queued(ledger, 2.0)
        give_back(ledger, old, 2.0)
        assert waiter.slot is old
        ledger.opened(scout.slot, 3.0, seconds=1.0, jitter=0.0)
        give_back(ledger, old, 4.0)
        assert closed(ledger) == [(old, CloseReason.DRAINED)]

    def test_a_full_pool_makes_room_one_at_a_time(self):
        ledger = book(min_size=2, max_size=2)
        for slot in borrowed(ledger, 2):
            give_back(ledger, slot, 0.0)
        ledger.drain(1.0)
        for _ in range(2):
            assert len(closed(ledger)) == 1
            assert len(grow(ledger, 2.0)) == 1
        assert not closed(ledger)
        assert not ledger.draining
        assert ledger.size == len(ledger.idle) == 2

    def test_while_the_server_is_away_the_old_ones_stay(self):
        ledger = book(min_size=1, max_size=2)
        [slot] = borrowed(ledger, 1)
        give_back(ledger, slot, 0.0)
        ledger.drain(1.0)
        fail(ledger, 1.0)
        assert list(ledger.idle) == [slot]
        assert ledger.take(1.0, None) is slot
        give_back(ledger, slot, 1.0)
        assert slot.state is State.IDLE
        ledger.upkeep(ledger.next_due(1.0))
        grow(ledger, 2.0)
        assert slot.state is State.GONE
        assert ledger.size == 1

    def test_a_full_pool_that_failed_to_connect_before_still_gets_drained(self):
        ledger = book(min_size=3, max_size=3)
        slots = borrowed(ledger, 3)
        ledger.discard(slots.pop(), 0.0, CloseReason.DEAD)
        fail(ledger, 0.0)
        resize(ledger, 2, 2, 1.0)
        for slot in slots:
            give_back(ledger, slot, 1.0)
        closed(ledger)
        ledger.drain(2.0)
        assert len(closed(ledger)) == 1, "one goes to find out whether the server is there"
        for now in (10.0, 20.0):
            ledger.upkeep(now)
            grow(ledger, now)
        assert not ledger.draining
        assert all(slot.state is State.GONE for slot in slots)

    def test_when_the_server_is_back_each_new_one_replaces_one_and_no_old_one_goes_before(self):
        ledger = book(min_size=3, max_size=9)
        for slot in borrowed(ledger, 3):
            give_back(ledger, slot, 0.0)
        ledger.drain(1.0)
        fail(ledger, 1.0)
        ledger.upkeep(ledger.next_due(1.0))
        [probe] = todo(ledger, Open)
        ledger.opened(probe.slot, 2.0, seconds=1.0, jitter=0.0)
        assert len(closed(ledger)) == 1
        assert repr(ledger) == "<3-9: 3 idle, 0 in use, 2 opening; 0 waiting; draining>"

    def test_draining_twice_replaces_what_was_being_opened_for_the_first(self):
        ledger = book(min_size=1, max_size=2)
        [slot] = borrowed(ledger, 1)
        give_back(ledger, slot, 0.0)
        ledger.drain(1.0)
        ledger.drain(2.0)
        [outdated] = grow(ledger, 3.0)
        assert closed(ledger) == [(outdated, CloseReason.OUTDATED)]
        assert slot.state is State.IDLE
        [fresh] = grow(ledger, 4.0)
        assert closed(ledger) == [(slot, CloseReason.DRAINED)]
        assert list(ledger.idle) == [fresh]

    def test_draining_an_empty_pool_is_over_at_once(self):
        ledger = book(min_size=2)
        ledger.drain(1.0)
        assert (ledger.draining, ledger.quiet_until, len(ledger.todo)) == (False, math.inf, 0)

    def test_a_connection_reopened_by_its_holder_beside_a_drain_is_drained_too(self):
        ledger = book(min_size=0, max_size=2)
        [slot] = borrowed(ledger, 1)
        slot.generation = ~slot.generation  # invalidated by itself
        generation = ledger.reopening()
        ledger.drain(1.0)
        ledger.reopened(slot, generation, 2.0, seconds=1.0, jitter=0.0)
        assert ledger.draining, "it may be as old as the others that were to be replaced"
        grow(ledger, 3.0)
        give_back(ledger, slot, 4.0)
        assert closed(ledger) == [(slot, CloseReason.DRAINED)]
        assert not ledger.draining


class TestDisposing:
    def test_idle_ones_go_now_and_those_out_or_opening_later(self):
        ledger = book(min_size=0, max_size=3)
        idle, out = borrowed(ledger, 2)
        waiter = queued(ledger)
        give_back(ledger, idle, 0.0)
        assert waiter.slot is idle
        [opening] = todo(ledger, Open)
        give_back(ledger, idle, 0.0)
        ledger.dispose(1.0)
        assert closed(ledger) == [(idle, CloseReason.DISPOSED)]
        give_back(ledger, out, 2.0)
        assert closed(ledger) == [(out, CloseReason.DISPOSED)]
        ledger.opened(opening.slot, 2.0, seconds=1.0, jitter=0.0)
        assert closed(ledger) == [(opening.slot, CloseReason.DISPOSED)]
        assert ledger.size == 0

    def test_the_pool_rests_until_the_next_borrow(self):
        ledger = book(min_size=3)
        slots = borrowed(ledger, 3)
        grow(ledger)
        for slot in slots:
            give_back(ledger, slot, 0.0)
        ledger.dispose(1.0)
        ledger.upkeep(2.0)
        assert (ledger.size, todo(ledger, Open), ledger.next_due(2.0)) == (0, [], math.inf)
        borrowed(ledger, 1, 3.0)
        assert len(todo(ledger, Open)) == 2, "the minimum is kept again"

    def test_an_attempt_under_way_does_not_bring_it_back(self):
        ledger = book(min_size=2)
        ledger.abandon(queued(ledger), 0.0, None)
        ledger.dispose(1.0)
        assert len(grow(ledger, 2.0)) == 1
        assert todo(ledger, Open) == []
        assert not ledger.started

    def test_a_waiter_whose_attempt_was_outdated_gets_another(self):
        ledger = book(min_size=0)
        waiter = queued(ledger)
        ledger.dispose(1.0)
        grow(ledger, 2.0)
        assert waiter.slot is None
        [fresh] = grow(ledger, 3.0)
        assert waiter.slot is fresh

    def test_while_draining_with_one_out_nothing_is_opened_however_often(self):
        ledger = book(min_size=1, max_size=4)
        borrowed(ledger, 1)
        ledger.drain(1.0)
        grow(ledger, 1.0)
        for now in (2.0, 3.0, 4.0):
            ledger.dispose(now)
            ledger.upkeep(now)
            assert todo(ledger, Open) == []
        assert not ledger.draining


class TestInvalidating:
    def test_all_that_were_opened_before_must_go_once(self):
        ledger = book(min_size=0, max_size=3)
        first, second, idle = borrowed(ledger, 3)
        give_back(ledger, idle, 0.0)
        ledger.invalidate(first, 1.0)
        assert closed(ledger) == [(idle, CloseReason.INVALIDATED)]
        [fresh] = borrowed(ledger, 1, 2.0) if ledger.size < 3 else [None]
        assert fresh is not None
        ledger.invalidate(second, 3.0)
        give_back(ledger, fresh, 4.0)
        assert fresh.state is State.IDLE, "it was opened after the outage that both have met"
        give_back(ledger, second, 4.0)
        assert closed(ledger) == [(second, CloseReason.INVALIDATED)]

    def test_one_that_was_invalidated_by_itself_still_counts_for_the_generation_it_was_opened_in(self):
        ledger = book(min_size=0, max_size=2)
        slot, other = borrowed(ledger, 2)
        slot.generation = ~slot.generation
        ledger.invalidate(slot, 1.0)
        give_back(ledger, other, 2.0)
        assert other.state is State.GONE

    def test_without_a_slot_everything_must_go_each_time(self):
        ledger = book(min_size=0)
        for now in (1.0, 2.0):
            [slot] = borrowed(ledger, 1, now)
            ledger.invalidate(None, now)
            give_back(ledger, slot, now)
            assert closed(ledger) == [(slot, CloseReason.INVALIDATED)]

    def test_one_invalidated_by_itself_goes_for_that_reason_also_after_a_dispose(self):
        ledger = book(min_size=0)
        [slot] = borrowed(ledger, 1)
        slot.generation = ~slot.generation
        ledger.dispose(1.0)
        give_back(ledger, slot, 2.0)
        assert closed(ledger) == [(slot, CloseReason.INVALIDATED)]

    def test_a_condemned_connection_that_came_back_is_not_lent_before_it_is_sorted_out(self):
        ledger = book(min_size=0, max_size=1)
        [slot] = borrowed(ledger, 1)
        ledger.invalidate(slot, 1.0)
        assert ledger.give_back(slot, 2.0), "must be sorted out"
        assert ledger.take(2.0, "quick") is None
        waiter = queued(ledger, 2.0)
        assert closed(ledger) == [(slot, CloseReason.INVALIDATED)]
        [fresh] = grow(ledger, 2.0)
        assert waiter.slot is fresh
        ledger.sort_out(slot, 2.0)
        assert closed(ledger) == []

    def test_the_pool_goes_on_and_refills(self):
        ledger = book(min_size=2)
        slots = borrowed(ledger, 2)
        for slot in slots:
            give_back(ledger, slot, 0.0)
        ledger.invalidate(None, 1.0)
        assert len(closed(ledger)) == len(grow(ledger, 1.0)) == 2


class TestReopening:
    def test_a_reopened_connection_is_as_new_as_any(self):
        ledger = book(min_size=0, max_lifetime=100)
        [slot] = borrowed(ledger, 1)
        slot.generation = ~slot.generation
        ledger.reopened(slot, ledger.reopening(), 50.0, seconds=2.0, jitter=0.5)
        assert (slot.generation, slot.checked_at, slot.retire_at) == (0, 50.0, 145.0)
        stats = ledger.stats()
        assert (stats.opens, stats.closes, stats.open_time.longest) == (2, {"invalidated": 1}, 2.0)
        give_back(ledger, slot, 51.0)
        assert slot.state is State.IDLE

    def test_one_reopened_beside_a_dispose_belongs_to_what_must_go(self):
        ledger = book(min_size=0)
        [slot] = borrowed(ledger, 1)
        generation = ledger.reopening()
        ledger.dispose(1.0)
        ledger.reopened(slot, generation, 2.0, seconds=1.0, jitter=0.0)
        give_back(ledger, slot, 3.0)
        assert closed(ledger) == [(slot, CloseReason.DISPOSED)]

    def test_one_reopened_after_a_dispose_stays(self):
        ledger = book(min_size=0)
        [slot] = borrowed(ledger, 1)
        ledger.dispose(1.0)
        ledger.reopened(slot, ledger.reopening(), 2.0, seconds=1.0, jitter=0.0)
        give_back(ledger, slot, 3.0)
        assert slot.state is State.IDLE

    def test_a_reopened_connection_of_this_generation_shows_that_the_server_is_there(self):
        ledger = book(min_size=0, max_size=3)
        old, again = borrowed(ledger, 2)
        assert not ledger.draining
        ledger.drain(1.0)
        assert not ledger.can_spare_old()
        ledger.reopened(again, ledger.reopening(), 2.0, seconds=1.0, jitter=0.0)
        assert ledger.can_spare_old()
        give_back(ledger, old, 3.0)
        assert closed(ledger) == [(old, CloseReason.DRAINED)]

    def test_one_reopened_beside_a_drain_does_not_hide_that_the_server_is_there(self):
        ledger = book(min_size=0, max_size=3)
        old, again = borrowed(ledger, 2)
        generation = ledger.reopening()
        ledger.drain(1.0)
        assert len(grow(ledger, 2.0)) == 1
        ledger.reopened(again, generation, 3.0, seconds=1.0, jitter=0.0)
        assert ledger.can_spare_old()
        assert not todo(ledger, Open)
        give_back(ledger, old, 4.0)
        assert closed(ledger)[-1] == (old, CloseReason.DRAINED)


def test_one_that_arrives_when_it_is_to_be_replaced_already_is_outdated():
    ledger = book(min_size=0)
    ledger.dispose(1.0)
    queued(ledger, 1.0)
    [attempt] = todo(ledger, Open)
    ledger.drain(2.0)
    ledger.opened(attempt.slot, 3.0, seconds=1.0, jitter=0.0)
    assert closed(ledger) == [(attempt.slot, CloseReason.OUTDATED)]
