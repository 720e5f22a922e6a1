"""The ledger: a borrow, the line, a return; who is served, and in which order."""

from __future__ import annotations

import math
from collections import deque

import pytest

from dbkit.core.reasons import CloseReason
from dbkit.core.types import Check, Refusal, Refused, State

from .ledgers import Pool, Slot, Waiter, book, borrowed, closed, give_back, grow, in_a_tight_loop, queued, todo, woken


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
        ledger, slot, waiter = in_a_tight_loop(fair_after=1.0)
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
