"""The ledger: who may overtake, for how long, and which returns concern the line meanwhile."""

from __future__ import annotations

import math

import pytest

from dbkit.core.types import BREATH, OVERTAKING, TIGHT, TURNS

from .ledgers import book, borrowed, give_back, in_a_tight_loop, queued, resize, woken


class TestOvertaking:
    def test_a_connection_is_handed_over_at_once_while_nobody_runs_a_tight_loop(self):
        ledger = book(min_size=0, max_size=1, fair_after=1.0)
        [slot] = borrowed(ledger, 1, now=-2.0, holder="a")
        front = queued(ledger, -1.0, "b")
        give_back(ledger, slot, 0.0)
        assert front.slot is slot
        back = queued(ledger, TIGHT, "a")
        give_back(ledger, slot, TIGHT)
        assert back.slot is slot, "it came back late enough"

    def test_a_borrower_that_comes_back_at_once_shows_a_tight_loop_and_connections_are_left_to_newcomers(self):
        ledger, slot, waiter = in_a_tight_loop(fair_after=1.0)
        give_back(ledger, slot, 0.01)
        assert waiter.slot is None
        assert waiter.called
        assert woken(ledger) == [waiter]
        assert ledger.take(0.01, "newcomer") is slot

    def test_somebody_else_coming_then_shows_nothing(self):
        ledger = book(min_size=0, max_size=1, fair_after=1.0)
        [slot] = borrowed(ledger, 1, holder="a")
        queued(ledger, 1.0, "b")
        give_back(ledger, slot, 1.0)
        waiter = queued(ledger, 1.0, "c")
        give_back(ledger, slot, 1.0)
        assert waiter.slot is slot

    @pytest.mark.parametrize(("later", "handed"), [(OVERTAKING * 0.99, False), (OVERTAKING, True)])
    def test_the_sign_is_good_for_a_moment_only(self, later, handed):
        ledger, slot, waiter = in_a_tight_loop(fair_after=1.0)
        give_back(ledger, slot, later)
        assert (waiter.slot is slot) == handed

    @pytest.mark.parametrize(("later", "handed"), [(0.0049, False), (0.005, True)])
    def test_a_newcomer_may_overtake_only_until_the_front_is_due(self, later, handed):
        ledger, slot, waiter = in_a_tight_loop(fair_after=0.005)
        give_back(ledger, slot, later)
        assert (waiter.slot is slot) == handed
        assert (ledger.take(later, "newcomer") is slot) == (not handed)

    def test_a_called_waiter_that_looks_in_time_has_it(self):
        ledger, slot, waiter = in_a_tight_loop(fair_after=1.0)
        give_back(ledger, slot, 0.01)
        ledger.look(waiter, 0.011)
        assert waiter.slot is slot

    def test_an_overtaken_front_waiter_keeps_its_place_takes_a_breath_and_is_not_called_meanwhile(self):
        ledger, slot, waiter = in_a_tight_loop(fair_after=1.0)
        second = queued(ledger, 0.005, "second")
        give_back(ledger, slot, 0.01)
        assert woken(ledger) == [waiter]
        assert ledger.take(0.01, "newcomer") is slot
        assert ledger.look(waiter, 0.02) == BREATH
        give_back(ledger, slot, 0.021)
        assert woken(ledger) == []
        ledger.look(waiter, 0.022)
        assert (waiter.slot, second.slot) == (slot, None)

    def test_being_overtaken_is_a_sign_of_tight_loops_too(self):
        ledger, slot, waiter = in_a_tight_loop(fair_after=1.0)
        give_back(ledger, slot, 0.01)
        assert ledger.take(0.01, "newcomer") is slot
        ledger.look(waiter, 0.02)
        give_back(ledger, slot, 0.02 + OVERTAKING * 0.9)
        assert waiter.slot is None

    def test_a_waiter_that_is_due_takes_no_breath_since_the_next_return_is_handed_to_it(self):
        ledger, slot, waiter = in_a_tight_loop(fair_after=0.05)
        give_back(ledger, slot, 0.04)
        assert ledger.take(0.04, "newcomer") is slot
        assert ledger.look(waiter, 0.05) == math.inf
        give_back(ledger, slot, 0.06)
        assert waiter.slot is slot

    def test_one_further_back_that_looks_serves_a_front_that_is_due_and_has_not_looked(self):
        ledger, slot, front = in_a_tight_loop(fair_after=1.0)
        second = queued(ledger, 0.0, "second")
        give_back(ledger, slot, 0.0)
        assert (front.called, front.slot) == (True, None)
        ledger.look(second, front.due_at)
        assert front.slot is slot

    def test_a_front_that_looks_has_the_next_one_called_for_what_is_left(self):
        ledger = book(min_size=0, max_size=2, fair_after=1.0)
        first, other = borrowed(ledger, 2, now=-1.0, holder="loop")
        queued(ledger, -0.5, "other")
        give_back(ledger, first, 0.0)
        front, second = queued(ledger, 0.0, "loop"), queued(ledger, 0.0, "second")
        give_back(ledger, first, 0.0)
        give_back(ledger, other, 0.0)
        assert (front.called, second.called, len(ledger.idle)) == (True, False, 2)
        ledger.look(front, 0.0)
        assert front.slot in (first, other)
        assert second.called

    def test_one_that_looks_without_being_in_front_is_called_again_when_it_is(self):
        ledger, slot, front = in_a_tight_loop(fair_after=1.0)
        second = queued(ledger, 0.001, "second")
        second.called = True  # as one that was in front before another had to go first
        assert ledger.look(second, 0.002) == math.inf
        assert not second.called
        ledger.leave(front, 0.003)
        give_back(ledger, slot, 0.004)
        assert woken(ledger) == [second]

    def test_a_return_judged_by_an_old_clock_is_sorted_out_by_a_fresh_one(self):
        ledger, slot, waiter = in_a_tight_loop(fair_after=0.005)
        assert ledger.give_back(slot, 0.004), "somebody stands in line, so it must be sorted out under the lock"
        ledger.sort_out(slot, 0.006)
        assert waiter.slot is slot

    def test_while_the_front_is_called_and_overtaken_returns_concern_nobody_until_it_is_due(self):
        ledger, slot, _ = in_a_tight_loop(fair_after=0.005)
        assert ledger.give_back(slot, 0.001), "it is to be called"
        ledger.sort_out(slot, 0.001)
        for now in (0.002, 0.003):
            assert ledger.take(now, "newcomer") is slot
            assert not ledger.give_back(slot, now), "it was called, and looks by itself"
        assert ledger.take(0.004, "newcomer") is slot
        assert ledger.give_back(slot, 0.005)

    def test_once_it_has_been_overtaken_for_too_long_returns_concern_it_again(self):
        ledger, slot, _ = in_a_tight_loop(fair_after=1.0)
        give_back(ledger, slot, 0.0)
        assert ledger.take(0.0, "newcomer") is slot
        assert not ledger.give_back(slot, OVERTAKING * 0.99)
        assert ledger.take(OVERTAKING * 0.99, "newcomer") is slot
        assert ledger.give_back(slot, OVERTAKING)

    @pytest.mark.parametrize("what", ["pause", "drain", "resize", "leave"])
    def test_what_happens_to_the_pool_makes_returns_concern_somebody_again(self, what):
        ledger, slot, waiter = in_a_tight_loop(fair_after=1.0)
        second = queued(ledger, 0.001, "second")
        give_back(ledger, slot, 0.001)
        assert ledger.take(0.002, "newcomer") is slot
        steps = {
            "pause": lambda: ledger.pause(0.002),
            "drain": lambda: ledger.drain(0.002),
            "resize": lambda: resize(ledger, 0, 1, 0.002),
            "leave": lambda: ledger.leave(waiter, 0.002),
        }
        steps[what]()
        assert ledger.give_back(slot, 0.003) == (what != "resize"), "a size that it fits changes nothing"
        assert (second.called, waiter.called) == (False, True)

    def test_a_return_judged_by_an_old_clock_after_the_front_looked_and_was_due_is_sorted_out(self):
        ledger, slot, waiter = in_a_tight_loop(fair_after=0.005)
        give_back(ledger, slot, 0.001)
        assert ledger.take(0.002, "newcomer") is slot
        assert ledger.look(waiter, 0.005) == math.inf
        assert ledger.give_back(slot, 0.0049), "it sleeps now, and nobody else would tell it"
        ledger.sort_out(slot, 0.0051)
        assert waiter.slot is slot

    @pytest.mark.parametrize(("ahead", "turns"), [(0, 1), (1, 1), (2, 2), (5, 3), (1000, TURNS)])
    def test_a_waiter_that_has_turns_to_wait_anyway_may_be_overtaken_for_longer(self, ahead, turns):
        ledger = book(min_size=0, max_size=2, fair_after=0.005)
        borrowed(ledger, 2)
        for _ in range(ahead):
            queued(ledger)
        assert queued(ledger, 1.0).due_at == pytest.approx(1.0 + turns * 0.005)
