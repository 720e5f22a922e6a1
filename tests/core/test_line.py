"""The ledger: a borrow, the line, a return; who is served, in which order, and who may overtake."""

from __future__ import annotations

import math
from collections import deque

import pytest

from dbkit.core.reasons import CloseReason
from dbkit.core.types import BREATH, OVERTAKING, TIGHT, TURNS, Check, Refusal, Refused, State

from .ledgers import Pool, Slot, Waiter, book, borrowed, closed, give_back, grow, queued, resize, todo, woken


class TestTaking:
    def test_the_connection_last_given_back_is_lent_first(self):
        ledger = book(min_size=0)
        first, second = borrowed(ledger, 2)
        give_back(ledger, second, 1.0)
        give_back(ledger, first, 2.0)
        assert ledger.take(3.0, "me") is first
        assert ledger.take(3.0, "me") is second
        assert ledger.take(3.0, "me") is None

    def test_a_lent_slot_knows_its_holder_and_when_it_was_lent_before_anybody_wakes_up(self):
        ledger = book(min_size=0, max_size=1, fair_after=0)
        waiter = queued(ledger, 1.0, "first")
        [slot] = grow(ledger, 2.0)
        assert (waiter.slot, slot.holder, slot.borrowed_at) == (slot, "first", 2.0)
        give_back(ledger, slot, 3.0)
        assert ledger.take(4.0, "second") is slot
        assert (slot.state, slot.holder, slot.borrowed_at) == (State.IN_USE, "second", 4.0)
        queued(ledger, 5.0, "third")
        give_back(ledger, slot, 6.0)
        assert (slot.state, slot.holder, slot.borrowed_at) == (State.IN_USE, "third", 6.0)

    def test_a_newcomer_that_comes_second_to_the_last_idle_connection_finds_none(self):
        class TakenMeanwhile(deque):
            def __bool__(self):
                return True

        ledger = book(min_size=0)
        ledger.idle = TakenMeanwhile()
        assert ledger.take(0.0, None) is None

    @pytest.mark.parametrize("what", ["pause", "dispose", "invalidate", "close"])
    def test_a_slot_that_is_just_being_taken_is_not_lent_when_the_pool_stops_lending(self, what):
        ledger = book(min_size=0, max_size=1)
        watcher = Waiter(1.0)
        steps = {
            "pause": lambda: ledger.pause(1.0, watcher),
            "dispose": lambda: ledger.dispose(1.0),
            "invalidate": lambda: ledger.invalidate(None, 1.0),
            "close": lambda: ledger.close(1.0, watcher),
        }
        slot = idle_and_struck_while_taken(ledger, steps[what])
        assert ledger.take(1.0, "newcomer") is None
        assert slot.holder is None
        if what == "close":
            with pytest.raises(Refused):
                queued(ledger, 1.0)
            assert (slot.state, ledger.size, ledger.totals.closes) == (State.GONE, 0, {CloseReason.CLOSED: 1})
        else:
            waiter = queued(ledger, 1.0)
            assert waiter.slot is None
            assert slot.state is (State.IDLE if what == "pause" else State.GONE)
        if what in ("pause", "close"):
            assert watcher in ledger.to_wake, "nobody else comes by to tell it"

    def test_a_slot_that_is_just_being_taken_counts_as_in_use_to_a_pause(self):
        ledger = book(min_size=0, max_size=1)
        watcher = Waiter(1.0)
        told = []

        def strike():
            ledger.pause(1.0, watcher)
            told.extend(woken(ledger))

        idle_and_struck_while_taken(ledger, strike)
        ledger.take(1.0, None)
        assert told == []


def idle_and_struck_while_taken(ledger: Pool, strike) -> Slot:
    """Return an idle slot; the next who takes it is interrupted, right after the ``pop``, by this step."""

    class StruckOnce(deque):
        struck = False

        def pop(self):
            slot = super().pop()
            if not self.struck:
                self.struck = True
                strike()
            return slot

    [slot] = borrowed(ledger, 1)
    give_back(ledger, slot, 0.5)
    ledger.idle = StruckOnce(ledger.idle)
    return slot


class TestOvertaking:
    def in_a_tight_loop(self, **numbers: object) -> tuple[Pool, Slot, Waiter]:
        """Return a pool of one whose borrower came back right after its return, so connections are left to newcomers.

        At 0.0 ``loop`` stands in line, the front waiter has the connection.
        """
        ledger = book(min_size=0, max_size=1, **numbers)
        [slot] = borrowed(ledger, 1, now=-1.0, holder="loop")
        front = queued(ledger, -0.5, "other")
        give_back(ledger, slot, 0.0)
        assert front.slot is slot
        waiter = queued(ledger, 0.0, "loop")
        woken(ledger)
        return ledger, slot, waiter

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
        ledger, slot, waiter = self.in_a_tight_loop(fair_after=1.0)
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
        ledger, slot, waiter = self.in_a_tight_loop(fair_after=1.0)
        give_back(ledger, slot, later)
        assert (waiter.slot is slot) == handed

    @pytest.mark.parametrize(("later", "handed"), [(0.0049, False), (0.005, True)])
    def test_a_newcomer_may_overtake_only_until_the_front_is_due(self, later, handed):
        ledger, slot, waiter = self.in_a_tight_loop(fair_after=0.005)
        give_back(ledger, slot, later)
        assert (waiter.slot is slot) == handed
        assert (ledger.take(later, "newcomer") is slot) == (not handed)

    def test_a_called_waiter_that_looks_in_time_has_it(self):
        ledger, slot, waiter = self.in_a_tight_loop(fair_after=1.0)
        give_back(ledger, slot, 0.01)
        ledger.look(waiter, 0.011)
        assert waiter.slot is slot

    def test_an_overtaken_front_waiter_keeps_its_place_takes_a_breath_and_is_not_called_meanwhile(self):
        ledger, slot, waiter = self.in_a_tight_loop(fair_after=1.0)
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
        ledger, slot, waiter = self.in_a_tight_loop(fair_after=1.0)
        give_back(ledger, slot, 0.01)
        assert ledger.take(0.01, "newcomer") is slot
        ledger.look(waiter, 0.02)
        give_back(ledger, slot, 0.02 + OVERTAKING * 0.9)
        assert waiter.slot is None

    def test_a_waiter_that_is_due_takes_no_breath_since_the_next_return_is_handed_to_it(self):
        ledger, slot, waiter = self.in_a_tight_loop(fair_after=0.05)
        give_back(ledger, slot, 0.04)
        assert ledger.take(0.04, "newcomer") is slot
        assert ledger.look(waiter, 0.05) == math.inf
        give_back(ledger, slot, 0.06)
        assert waiter.slot is slot

    def test_one_further_back_that_looks_serves_a_front_that_is_due_and_has_not_looked(self):
        ledger, slot, front = self.in_a_tight_loop(fair_after=1.0)
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
        ledger, slot, front = self.in_a_tight_loop(fair_after=1.0)
        second = queued(ledger, 0.001, "second")
        second.called = True  # as one that was in front before another had to go first
        assert ledger.look(second, 0.002) == math.inf
        assert not second.called
        ledger.leave(front, 0.003)
        give_back(ledger, slot, 0.004)
        assert woken(ledger) == [second]

    def test_a_return_judged_by_an_old_clock_is_sorted_out_by_a_fresh_one(self):
        ledger, slot, waiter = self.in_a_tight_loop(fair_after=0.005)
        assert ledger.give_back(slot, 0.004), "somebody stands in line, so it must be sorted out under the lock"
        ledger.sort_out(slot, 0.006)
        assert waiter.slot is slot

    def test_while_the_front_is_called_and_overtaken_returns_concern_nobody_until_it_is_due(self):
        ledger, slot, _ = self.in_a_tight_loop(fair_after=0.005)
        assert ledger.give_back(slot, 0.001), "it is to be called"
        ledger.sort_out(slot, 0.001)
        for now in (0.002, 0.003):
            assert ledger.take(now, "newcomer") is slot
            assert not ledger.give_back(slot, now), "it was called, and looks by itself"
        assert ledger.take(0.004, "newcomer") is slot
        assert ledger.give_back(slot, 0.005)

    def test_once_it_has_been_overtaken_for_too_long_returns_concern_it_again(self):
        ledger, slot, _ = self.in_a_tight_loop(fair_after=1.0)
        give_back(ledger, slot, 0.0)
        assert ledger.take(0.0, "newcomer") is slot
        assert not ledger.give_back(slot, OVERTAKING * 0.99)
        assert ledger.take(OVERTAKING * 0.99, "newcomer") is slot
        assert ledger.give_back(slot, OVERTAKING)

    @pytest.mark.parametrize("what", ["pause", "drain", "resize", "leave"])
    def test_what_happens_to_the_pool_makes_returns_concern_somebody_again(self, what):
        ledger, slot, waiter = self.in_a_tight_loop(fair_after=1.0)
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
        ledger, slot, waiter = self.in_a_tight_loop(fair_after=0.005)
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


class TestLeaving:
    def test_a_slot_that_arrives_too_late_goes_on_to_the_next(self):
        ledger = book(min_size=0, max_size=1)
        [slot] = borrowed(ledger, 1)
        gone, next_one = queued(ledger), queued(ledger)
        give_back(ledger, slot, 1.0)
        assert gone.slot is slot
        ledger.abandon(gone, 1.0, gone.slot)
        assert next_one.slot is slot

    def test_a_waiter_that_vanishes_from_the_line_leaves_nothing_behind(self):
        ledger = book(min_size=0, max_size=1)
        borrowed(ledger, 1)
        waiter = queued(ledger)
        ledger.abandon(waiter, 1.0, None)
        assert not ledger.line
        assert ledger.quiet_until == math.inf
        assert ledger.totals.timeouts == 0

    def test_the_slot_of_a_vanished_waiter_lies_idle_again_when_nobody_else_waits(self):
        ledger = book(min_size=0, max_size=1)
        waiter = queued(ledger)
        [slot] = grow(ledger)
        ledger.abandon(waiter, 1.0, waiter.slot)
        assert list(ledger.idle) == [slot]

    def test_a_waiter_whose_time_is_up_leaves_and_is_counted(self):
        ledger = book(min_size=0, max_size=1)
        borrowed(ledger, 1)
        waiter, other = queued(ledger), queued(ledger)
        ledger.time_out(waiter, 1.0)
        assert list(ledger.line) == [other]
        assert ledger.totals.timeouts == 1

    def test_a_waiter_served_at_the_last_moment_has_not_timed_out(self):
        ledger = book(min_size=0, max_size=1)
        [slot] = borrowed(ledger, 1)
        waiter = queued(ledger)
        give_back(ledger, slot, 1.0)
        ledger.time_out(waiter, 1.0)
        assert waiter.slot is slot
        assert ledger.totals.timeouts == 0

    def test_at_its_deadline_a_called_waiter_looks_once_more(self):
        ledger, slot, waiter = TestOvertaking().in_a_tight_loop(fair_after=1.0)
        give_back(ledger, slot, 0.01)
        ledger.time_out(waiter, 0.02)
        assert waiter.slot is slot
        assert ledger.totals.timeouts == 0


class TestFullLine:
    def test_max_waiting_refuses_a_borrower_that_would_wait_with_nothing_on_its_way(self):
        ledger = book(min_size=0, max_size=1, max_waiting=1)
        borrowed(ledger, 1)
        queued(ledger)
        with pytest.raises(Refused, match="max_waiting is 1") as caught:
            queued(ledger)
        assert caught.value.refusal is Refusal.LINE_FULL
        assert str(caught.value).endswith("refused at once")
        assert ledger.totals.refused == 1
        assert len(ledger.line) == 1

    def test_max_waiting_zero_still_lets_the_pool_grow(self):
        ledger = book(min_size=0, max_size=2, max_waiting=0)
        waiters = [queued(ledger), queued(ledger)]
        with pytest.raises(Refused):
            queued(ledger)
        grow(ledger)
        assert all(waiter.slot for waiter in waiters)
        with pytest.raises(Refused):
            queued(ledger)

    def test_an_idle_connection_counts_as_on_its_way(self):
        ledger = book(min_size=0, max_size=1, max_waiting=0)
        [slot] = borrowed(ledger, 1)
        give_back(ledger, slot, 1.0)
        assert queued(ledger, 1.0).slot is slot

    def test_a_borrower_whose_connection_proved_dead_keeps_its_place_and_is_never_refused(self):
        ledger = book(min_size=0, max_size=1, max_waiting=1)
        [dead] = borrowed(ledger, 1)
        second = queued(ledger, 0.0, "second")
        ledger.suspect(dead, 1.0)
        first = queued(ledger, 1.0, "first", first=True)
        assert list(ledger.line) == [first, second]
        assert first.due_at == 1.0, "it was its turn already: nobody may overtake it"
        assert ledger.totals.refused == 0
        [check] = todo(ledger, Check)
        ledger.checked(check.slot, 2.0, alive=False)
        [fresh] = grow(ledger, 3.0)
        assert (first.slot, second.slot) == (fresh, None)
        assert closed(ledger) == [(dead, CloseReason.DEAD)]
