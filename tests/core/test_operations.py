"""The ledger: warming up, pausing, resizing, closing, and what outlives a rebuild."""

from __future__ import annotations

import math

import pytest

from dbkit.core.ledger import Ledger
from dbkit.core.policy import PoolPolicy
from dbkit.core.reasons import CloseReason
from dbkit.core.types import Refusal, Refused, State, Watch

from .ledgers import Pool, Slot, Waiter, book, borrowed, closed, fail, give_back, grow, queued, resize, woken


class TestWarmingUp:
    def test_the_minimum_is_opened_and_nobody_borrows(self):
        ledger, watcher = book(min_size=2), Waiter(0.0)
        ledger.warm_up(watcher, 0.0)
        assert not ledger.to_wake
        first, second = grow(ledger, 1.0)
        assert woken(ledger) == [watcher]
        assert first.state is second.state is State.IDLE
        stats = ledger.stats()
        assert (stats.borrows, stats.waiting, stats.wait_time.count) == (0, 0, 0)

    def test_the_watcher_is_told_when_the_last_is_open_and_not_before(self):
        ledger, watcher = book(min_size=2, max_size=2), Waiter(0.0)
        ledger.warm_up(watcher, 0.0)
        attempts = list(ledger.todo)
        ledger.opened(attempts[0].slot, 1.0, seconds=1.0, jitter=0.0)
        assert not woken(ledger)
        ledger.opened(attempts[1].slot, 1.0, seconds=1.0, jitter=0.0)
        assert woken(ledger) == [watcher]

    @pytest.mark.parametrize("minimum", [0, 1])
    def test_a_warm_pool_tells_at_once(self, minimum):
        ledger, watcher = book(min_size=minimum), Waiter(0.0)
        borrowed(ledger, 1)
        ledger.warm_up(watcher, 0.0)
        assert woken(ledger) == [watcher]

    def test_a_dispose_in_between_does_not_leave_the_watcher_waiting_for_ever(self):
        ledger, watcher = book(min_size=2), Waiter(0.0)
        ledger.warm_up(watcher, 0.0)
        ledger.dispose(0.5)
        grow(ledger, 1.0)
        grow(ledger, 2.0)
        assert woken(ledger) == [watcher]
        assert ledger.size == len(ledger.idle) == 2

    def test_a_closed_pool_refuses_and_closing_tells_those_who_warm_up(self):
        ledger, watcher = book(min_size=2), Waiter(0.0)
        ledger.warm_up(watcher, 0.0)
        ledger.close(1.0)
        assert woken(ledger) == [watcher]
        assert isinstance(watcher.error, Refused)
        assert not ledger.watchers
        with pytest.raises(Refused):
            ledger.warm_up(watcher, 2.0)

    def test_a_watcher_that_was_forgotten_is_not_told(self):
        ledger, gone, stays = book(min_size=1), Waiter(0.0), Waiter(0.0)
        ledger.warm_up(gone, 0.0)
        ledger.warm_up(stays, 0.0)
        ledger.forget(gone)
        grow(ledger)
        assert woken(ledger) == [stays]


class TestPausing:
    def test_a_paused_pool_lends_nothing_and_says_when_all_is_back(self):
        ledger = book(min_size=0, max_size=2)
        idle, out = borrowed(ledger, 2)
        give_back(ledger, idle, 0.0)
        watcher = Waiter(1.0)
        ledger.pause(1.0, watcher)
        assert ledger.take(2.0, None) is None
        waiter = queued(ledger, 2.0)
        assert ledger.look(waiter, 2.0) > 1e9
        assert waiter.slot is None
        assert not woken(ledger)
        give_back(ledger, out, 3.0)
        assert woken(ledger) == [watcher]
        assert waiter.slot is None
        ledger.resume(4.0)
        assert waiter.slot is not None
        assert woken(ledger) == [waiter]

    def test_pausing_a_pool_that_rests_tells_at_once(self):
        ledger, watcher = book(min_size=0), Waiter(0.0)
        ledger.pause(0.0, watcher)
        assert woken(ledger) == [watcher]

    def test_resuming_tells_those_who_still_wait_for_the_pause_and_nobody_else(self):
        ledger, pausing = book(min_size=2), Waiter(1.0)
        borrowed(ledger, 1)
        warming = Waiter(1.0)
        ledger.warm_up(warming, 1.0)
        ledger.pause(1.0, pausing)
        ledger.resume(2.0)
        assert woken(ledger) == [pausing]
        assert ledger.watchers == [(warming, Watch.WARM)]
        assert ledger.quiet_until == math.inf

    def test_a_new_connection_that_arrives_in_a_paused_pool_lies_idle(self):
        ledger = book(min_size=0)
        waiter = queued(ledger)
        ledger.pause(0.0)
        [slot] = grow(ledger, 1.0)
        assert (slot.state, waiter.slot) == (State.IDLE, None)
        ledger.resume(2.0)
        assert waiter.slot is slot


class TestResizing:
    def test_a_smaller_pool_closes_idle_ones_now_and_those_out_as_they_come_back_until_it_fits(self):
        ledger = book(min_size=0, max_size=4)
        first, second, third, idle = borrowed(ledger, 4)
        give_back(ledger, idle, 5.0)
        resize(ledger, 0, 2, 6.0)
        assert closed(ledger) == [(idle, CloseReason.RESIZED)]
        assert ledger.size == 3
        give_back(ledger, second, 7.0)
        assert closed(ledger) == [(second, CloseReason.RESIZED)]
        give_back(ledger, first, 7.0)
        assert closed(ledger) == []
        assert (ledger.size, first.state, third.state) == (2, State.IDLE, State.IN_USE)
        assert ledger.quiet_until == math.inf

    def test_once_it_fits_a_return_concerns_nobody(self):
        ledger = book(min_size=0, max_size=4)
        for slot in borrowed(ledger, 4):
            give_back(ledger, slot, 5.0)
        resize(ledger, 0, 2, 6.0)
        assert len(closed(ledger)) == 2
        assert ledger.quiet_until == math.inf

    def test_of_the_idle_ones_the_longest_idle_go_first(self):
        ledger = book(min_size=0, max_size=3)
        slots = borrowed(ledger, 3)
        for slot in slots:
            give_back(ledger, slot, 1.0)
        resize(ledger, 0, 2, 2.0)
        assert closed(ledger) == [(slots[0], CloseReason.RESIZED)]

    def test_under_load_it_fits_after_one_round_of_returns_and_the_line_is_served(self):
        ledger = book(min_size=0, max_size=4)
        out = borrowed(ledger, 4)
        waiters = [queued(ledger) for _ in range(4)]
        resize(ledger, 0, 1, 1.0)
        for slot in out:
            give_back(ledger, slot, 2.0)
        assert len(closed(ledger)) == 3
        assert (ledger.size, waiters[0].slot, waiters[1].slot) == (1, out[3], None)

    def test_a_newcomer_beside_the_resize_does_not_keep_the_pool_over_its_maximum(self):
        ledger = book(min_size=0, max_size=3)
        for slot in borrowed(ledger, 3):
            give_back(ledger, slot, 0.0)
        out = [ledger.take(1.0, None) for _ in range(3)]
        resize(ledger, 0, 1, 1.0)
        for slot in out:
            give_back(ledger, slot, 2.0)
        assert ledger.size == len(ledger.idle) == 1

    def test_what_is_being_opened_goes_when_it_arrives(self):
        ledger = book(min_size=0, max_size=3)
        waiters = [queued(ledger) for _ in range(3)]
        resize(ledger, 0, 1, 1.0)
        grow(ledger, 2.0)
        assert [reason for _, reason in closed(ledger)] == [CloseReason.RESIZED] * 2
        assert [waiter.slot is not None for waiter in waiters] == [True, False, False]

    def test_a_larger_pool_serves_its_line_at_once(self):
        ledger = book(min_size=0, max_size=1)
        borrowed(ledger, 1)
        waiter = queued(ledger)
        resize(ledger, 0, 2, 1.0)
        grow(ledger, 1.0)
        assert waiter.slot is not None

    def test_a_larger_minimum_is_filled_and_one_above_the_maximum_there_is_not(self):
        ledger = book(min_size=0, max_size=4)
        borrowed(ledger, 1)
        resize(ledger, 3, 4, 1.0)
        grow(ledger, 1.0)
        assert repr(ledger) == "<3-4: 2 idle, 1 in use, 0 opening; 0 waiting>"


class TestClosing:
    def test_closing_refuses_and_wakes_everybody_in_line(self):
        ledger = book(min_size=0, max_size=1)
        [slot] = borrowed(ledger, 1)
        waiters, closer = [queued(ledger), queued(ledger)], Waiter(1.0)
        ledger.close(1.0, closer)
        assert woken(ledger) == waiters
        assert all(waiter.error.refusal is Refusal.CLOSED for waiter in waiters)
        with pytest.raises(Refused) as caught:
            queued(ledger, 1.0)
        assert caught.value.refusal is Refusal.CLOSED
        assert ledger.take(1.0, None) is None
        give_back(ledger, slot, 2.0)
        assert woken(ledger) == [closer]
        assert closed(ledger) == [(slot, CloseReason.CLOSED)]
        assert repr(ledger) == "<0-1: 0 idle, 0 in use, 0 opening; 0 waiting; closed>"

    def test_an_empty_pool_is_closed_at_once(self):
        ledger, closer = book(min_size=0), Waiter(0.0)
        ledger.close(0.0, closer)
        assert woken(ledger) == [closer]

    def test_a_connection_that_arrives_after_closing_is_closed(self):
        ledger, closer = book(min_size=2), Waiter(1.0)
        queued(ledger)
        ledger.close(1.0, closer)
        woken(ledger)
        [slot] = grow(ledger, 2.0)
        assert closed(ledger) == [(slot, CloseReason.CLOSED)]
        assert woken(ledger) == [closer]
        assert not ledger.todo

    def test_a_connection_attempt_that_fails_after_closing_tells_the_closer(self):
        ledger, closer = book(min_size=2), Waiter(1.0)
        queued(ledger)
        ledger.close(1.0, closer)
        woken(ledger)
        fail(ledger, 2.0)
        assert woken(ledger) == [closer]

    def test_nothing_reopens_a_closed_pool(self):
        ledger = book(min_size=2)
        borrowed(ledger, 1)
        ledger.close(1.0)
        for step in (ledger.upkeep, ledger.drain, ledger.resume, ledger.dispose):
            step(2.0)
        resize(ledger, 3, 5, 2.0)
        assert (ledger.wanted(), ledger.closed, len(ledger.idle)) == (0, True, 0)

    def test_a_connection_reopened_while_the_pool_closes_is_refused(self):
        ledger = book(min_size=0)
        [slot] = borrowed(ledger, 1)
        generation = ledger.reopening()
        ledger.close(1.0)
        with pytest.raises(Refused):
            ledger.reopened(slot, generation, 2.0, seconds=1.0, jitter=0.0)
        with pytest.raises(Refused):
            ledger.reopening()
        assert ledger.totals.opens == 1
        give_back(ledger, slot, 3.0)
        assert slot.state is State.GONE


class TestRebuilding:
    def rebuilt(self, ledger: Pool) -> Pool:
        return Ledger(ledger.policy, Slot, ledger.lasting())

    def test_closed_is_closed_and_paused_is_paused(self):
        ledger = book(min_size=0)
        ledger.pause(0.0)
        paused = self.rebuilt(ledger)
        assert (paused.paused, paused.closed, paused.quiet_until) == (True, False, -math.inf)
        assert paused.take(0.0, None) is None
        assert queued(paused).slot is None
        ledger.close(1.0)
        after = self.rebuilt(ledger)
        assert (after.closed, after.quiet_until) == (True, -math.inf)
        with pytest.raises(Refused):
            queued(after)

    def test_a_pool_that_is_neither_stays_usable(self):
        after = self.rebuilt(book(min_size=0))
        assert (after.closed, after.paused, after.quiet_until) == (False, False, math.inf)
        assert len(borrowed(after, 2)) == 2

    def test_the_counts_go_on_and_the_old_ledger_changes_them_no_more(self):
        ledger = book(min_size=0, max_size=1, max_waiting=1)
        [slot] = borrowed(ledger, 1)
        ledger.time_out(queued(ledger), 1.0)
        give_back(ledger, slot, 2.0)
        ledger.discard(ledger.take(3.0, None), 4.0, CloseReason.DEAD)
        queued(ledger, 4.0)
        fail(ledger, 4.0, refused=True)
        before = ledger.stats()
        after = self.rebuilt(ledger)
        ledger.dispose(5.0)
        borrowed(ledger, 1, 5.0)
        for name in ("borrows", "timeouts", "refused", "opens", "open_failures", "closes"):
            assert getattr(after.stats(), name) == getattr(before, name), name
        assert (before.borrows, before.timeouts, before.opens, before.open_failures) == (2, 1, 1, 1)
        for name in ("wait_time", "use_time", "open_time"):
            assert getattr(after.stats(), name).counts == getattr(before, name).counts, name
        assert before.use_time.total == 3.0


def test_the_policy_says_what_repr_shows():
    assert repr(Ledger(PoolPolicy(), Slot)) == "<2-10: 0 idle, 0 in use, 0 opening; 0 waiting>"
