"""The ledger, without threads, clock or server: what each step does."""

from __future__ import annotations

import math

import pytest

from dbkit.core.policy import PoolPolicy
from dbkit.core.types import TURNS, Check, Close, Open, State
from dbkit.pool.errors import LineFullError, PoolClosedError

from .ledgers import Ledger, Slot, Waiter, book, borrowed, give_back, grow, todo


class TestGrowing:
    def test_an_unused_pool_opens_nothing(self):
        ledger = book(min_size=2)
        ledger.upkeep(0.0)
        assert not ledger.todo
        assert ledger.next_due(0.0) == math.inf

    def test_the_first_borrow_opens_one_and_its_success_fills_the_minimum(self):
        ledger = book(min_size=3)
        waiter = Waiter(0.0)
        ledger.join(waiter, 0.0)
        [first] = todo(ledger, Open)
        ledger.opened(first.slot, 1.0, seconds=1.0, jitter=0.0)
        assert waiter.slot is first.slot
        assert len(todo(ledger, Open)) == 2

    def test_a_returned_connection_serves_the_waiter_while_his_is_still_opening(self):
        ledger = book(min_size=0, max_size=2)
        [out] = borrowed(ledger, 1)
        waiter = Waiter(1.0)
        ledger.join(waiter, 1.0)
        [opening] = todo(ledger, Open)
        give_back(ledger, out, 2.0)
        assert waiter.slot is out
        ledger.opened(opening.slot, 3.0, seconds=2.0, jitter=0.0)
        assert opening.slot.state is State.IDLE

    def test_a_failed_connect_gives_its_error_to_the_front_and_grows_for_the_next(self):
        ledger = book(min_size=0, max_size=1)
        front, second = Waiter(0.0), Waiter(0.0)
        ledger.join(front, 0.0)
        ledger.join(second, 0.0)
        [opening] = todo(ledger, Open)
        error = OSError("no")
        ledger.open_failed(opening.slot, error, 1.0, transient=True, jitter=0.0)
        assert front.error is error
        assert second.error is None
        grow(ledger, 1.0)
        assert second.slot is not None


class TestOutage:
    def worked(self, **numbers: object) -> Ledger[Slot, Waiter]:
        ledger = book(min_size=0, max_size=4, **numbers)
        [slot] = borrowed(ledger, 1)
        ledger.discard(slot, 0.0, "invalidated")
        todo(ledger, Close)
        return ledger

    def test_a_pool_that_has_worked_rides_out_what_may_pass_with_one_probe_at_a_time(self):
        ledger = self.worked()
        waiters = [Waiter(0.0) for _ in range(3)]
        ledger.join(waiters[0], 0.0)
        [probe] = todo(ledger, Open)
        ledger.open_failed(probe.slot, OSError(), 0.0, transient=True, jitter=0.0)
        for waiter in waiters[1:]:
            ledger.join(waiter, 0.01)
        assert not todo(ledger, Open)
        due = ledger.next_due(0.01)
        assert 0.01 < due < 1
        ledger.upkeep(due)
        [probe] = todo(ledger, Open)
        ledger.opened(probe.slot, due, seconds=0.0, jitter=0.0)
        assert waiters[0].slot is probe.slot
        grow(ledger, due)
        assert all(waiter.slot for waiter in waiters)

    def test_what_will_not_pass_reaches_the_front_at_once(self):
        ledger = self.worked()
        waiters = [Waiter(0.0), Waiter(0.0)]
        for waiter in waiters:
            ledger.join(waiter, 0.0)
        for action in todo(ledger, Open):
            ledger.open_failed(action.slot, PermissionError(), 0.0, transient=False, jitter=0.0)
        assert all(isinstance(waiter.error, PermissionError) for waiter in waiters)

    @pytest.mark.parametrize("patience", [0, 10])
    def test_beyond_reconnect_timeout_borrowers_are_told_at_once(self, patience):
        ledger = self.worked(reconnect_timeout=patience)
        now, told = 0.0, None
        waiter = Waiter(0.0)
        ledger.join(waiter, 0.0)
        while told is None and now < 60:
            for action in todo(ledger, Open):
                ledger.open_failed(action.slot, OSError(), now, transient=True, jitter=0.0)
            told = waiter.error
            if told is None:
                now = ledger.next_due(now)
                ledger.upkeep(now)
        assert isinstance(told, OSError)
        assert patience <= now <= patience + 5

    def test_the_minimum_is_refilled_with_backoff_when_nobody_waits(self):
        ledger = book(min_size=2, max_size=2)
        [first] = borrowed(ledger, 1)
        [refill] = todo(ledger, Open)
        ledger.open_failed(refill.slot, PermissionError(), 0.0, transient=False, jitter=0.0)
        assert not todo(ledger, Open)
        due = ledger.next_due(0.0)
        assert due < 1
        ledger.upkeep(due)
        assert len(todo(ledger, Open)) == 1
        assert first.state is State.IN_USE


class TestLine:
    def test_a_newcomer_may_overtake_only_until_the_front_is_due(self):
        ledger = book(min_size=0, max_size=1, fair_after=0.005)
        [slot] = borrowed(ledger, 1)
        front = Waiter(0.0)
        ledger.join(front, 0.0)
        give_back(ledger, slot, 0.004)
        assert list(ledger.to_wake) == [front]
        assert ledger.take(0.0049) is slot
        ledger.look(front, 0.0049)
        assert front.slot is None
        give_back(ledger, slot, 0.006)
        assert front.slot is slot
        assert ledger.take(0.006) is None

    @pytest.mark.parametrize(("ahead", "turns"), [(0, 1), (1, 1), (2, 2), (5, 3), (1000, TURNS)])
    def test_who_has_turns_to_wait_anyway_may_be_overtaken_for_longer(self, ahead, turns):
        ledger = book(min_size=0, max_size=2, fair_after=0.005)
        borrowed(ledger, 2)
        for _ in range(ahead):
            ledger.join(Waiter(0.0), 0.0)
        last = Waiter(1.0)
        ledger.join(last, 1.0)
        assert last.due_at == pytest.approx(1.0 + turns * 0.005)

    def test_a_called_waiter_who_finds_it_taken_keeps_his_place(self):
        ledger = book(min_size=0, max_size=1, fair_after=1)
        [slot] = borrowed(ledger, 1)
        first, second = Waiter(0.0), Waiter(0.1)
        ledger.join(first, 0.0)
        ledger.join(second, 0.1)
        give_back(ledger, slot, 0.2)
        assert ledger.take(0.2) is slot
        ledger.look(first, 0.3)
        give_back(ledger, slot, 2.0)
        assert first.slot is slot

    def test_what_arrives_too_late_goes_on_to_the_next(self):
        ledger = book(min_size=0, max_size=1, fair_after=0)
        [slot] = borrowed(ledger, 1)
        gone, next_one = Waiter(0.0), Waiter(0.0)
        ledger.join(gone, 0.0)
        ledger.join(next_one, 0.0)
        give_back(ledger, slot, 1.0)
        assert gone.slot is slot
        ledger.abandon(gone, 1.0, gone.slot)
        assert next_one.slot is slot

    def test_a_waiter_served_at_the_last_moment_has_not_timed_out(self):
        ledger = book(min_size=0, max_size=1, fair_after=0)
        [slot] = borrowed(ledger, 1)
        waiter = Waiter(0.0)
        ledger.join(waiter, 0.0)
        give_back(ledger, slot, 1.0)
        ledger.time_out(waiter, 1.0)
        assert waiter.slot is slot
        assert ledger.timeouts == 0

    def test_max_waiting_refuses_who_would_wait_with_nothing_on_its_way(self):
        ledger = book(min_size=0, max_size=1, max_waiting=1)
        borrowed(ledger, 1)
        ledger.join(Waiter(0.0), 0.0)
        with pytest.raises(LineFullError, match="max_waiting is 1"):
            ledger.join(Waiter(0.0), 0.0)
        assert ledger.refused == 1

    def test_max_waiting_zero_still_lets_the_pool_grow(self):
        ledger = book(min_size=0, max_size=2, max_waiting=0)
        assert len(borrowed(ledger, 2)) == 2
        with pytest.raises(LineFullError):
            ledger.join(Waiter(0.0), 0.0)

    def test_closing_tells_everybody_in_line(self):
        ledger = book(min_size=0, max_size=1)
        [slot] = borrowed(ledger, 1)
        waiter, closer = Waiter(0.0), Waiter(1.0)
        ledger.join(waiter, 0.0)
        ledger.close(1.0)
        ledger.watchers.append(closer)
        assert isinstance(waiter.error, PoolClosedError)
        with pytest.raises(PoolClosedError):
            ledger.join(Waiter(1.0), 1.0)
        ledger.to_wake.clear()
        give_back(ledger, slot, 2.0)
        assert list(ledger.to_wake) == [closer]
        assert ledger.size == 0

    def test_giving_back_twice_harms_nothing(self):
        ledger = book(min_size=0, max_size=1)
        [slot] = borrowed(ledger, 1)
        give_back(ledger, slot, 1.0)
        give_back(ledger, slot, 2.0)
        assert list(ledger.idle) == [slot]
        ledger.discard(slot, 3.0, "invalidated")
        ledger.discard(slot, 3.0, "invalidated")
        assert ledger.size == 0


class TestUpkeep:
    def test_surplus_idle_connections_shrink_to_the_minimum_the_oldest_first(self):
        ledger = book(min_size=1, max_size=3, max_idle=10, keepalive=None)
        slots = borrowed(ledger, 3)
        for when, slot in enumerate(slots):
            give_back(ledger, slot, float(when))
        assert ledger.next_due(2.0) == 10.0
        ledger.upkeep(10.0)
        assert [action.slot for action in todo(ledger, Close)] == [slots[0]]
        assert ledger.next_due(10.0) == 11.0
        ledger.upkeep(100.0)
        assert [action.slot for action in todo(ledger, Close)] == [slots[1]]
        assert ledger.size == 1

    def test_what_is_too_old_retires_when_idle_and_on_return(self):
        ledger = book(min_size=2, max_size=2, max_lifetime=100, max_idle=None, keepalive=None)
        idle, out = borrowed(ledger, 2)
        give_back(ledger, idle, 1.0)
        assert ledger.next_due(1.0) == 100.0
        ledger.upkeep(100.0)
        assert [(action.slot, action.why) for action in todo(ledger, Close)] == [(idle, "max_lifetime")]
        assert len(grow(ledger, 100.0)) == 1
        give_back(ledger, out, 101.0)
        assert [action.slot for action in todo(ledger, Close)] == [out]
        assert len(grow(ledger, 101.0)) == 1

    @pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
    def test_lifetimes_are_jittered_downwards_by_up_to_a_tenth(self, jitter):
        ledger = book(min_size=0, max_lifetime=100)
        ledger.join(Waiter(0.0), 0.0)
        [action] = todo(ledger, Open)
        ledger.opened(action.slot, 0.0, seconds=0.0, jitter=jitter)
        assert action.slot.retire_at == pytest.approx(100 - 10 * jitter)

    def test_a_connection_is_not_suspect_the_moment_it_was_opened(self):
        ledger = book(min_size=0, keepalive=1)
        [slot] = borrowed(ledger, 1, now=1000.0)
        assert slot.idle_since == slot.checked_at == 1000.0

    def test_what_was_quiet_for_long_is_checked_and_lies_idle_again_as_old_as_before(self):
        ledger = book(min_size=1, keepalive=60, max_idle=None, max_lifetime=None)
        [slot] = borrowed(ledger, 1)
        give_back(ledger, slot, 1.0)
        assert ledger.next_due(1.0) == 61.0
        ledger.upkeep(61.0)
        assert [action.slot for action in todo(ledger, Check)] == [slot]
        ledger.checked(slot, 62.0, alive=True)
        assert slot.state is State.IDLE
        assert slot.idle_since == 1.0
        assert ledger.next_due(62.0) == 122.0

    def test_a_dead_one_is_replaced(self):
        ledger = book(min_size=1, keepalive=60)
        [slot] = borrowed(ledger, 1)
        give_back(ledger, slot, 1.0)
        ledger.suspect_idle(slot, 2.0)
        todo(ledger, Check)
        ledger.checked(slot, 3.0, alive=False)
        assert [action.why for action in todo(ledger, Close)] == ["dead"]
        assert len(grow(ledger, 3.0)) == 1

    def test_dispose_retires_what_is_idle_now_and_what_is_out_or_opening_later(self):
        ledger = book(min_size=0, max_size=3)
        idle, out = borrowed(ledger, 2)
        give_back(ledger, idle, 0.0)
        ledger.take(0.0)
        ledger.join(Waiter(0.0), 0.0)
        [opening] = todo(ledger, Open)
        give_back(ledger, idle, 0.0)
        ledger.dispose(1.0)
        give_back(ledger, out, 2.0)
        ledger.opened(opening.slot, 2.0, seconds=1.0, jitter=0.0)
        assert {action.slot for action in todo(ledger, Close)} >= {out, opening.slot}
        assert out.state is opening.slot.state is State.GONE


class TestOperations:
    def test_a_smaller_pool_closes_idle_ones_now_and_those_out_longest_when_they_come_back(self):
        ledger = book(min_size=0, max_size=4)
        first, second, third, idle = [borrowed(ledger, 1, now=float(when))[0] for when in range(4)]
        give_back(ledger, idle, 5.0)
        ledger.resize(PoolPolicy(min_size=0, max_size=2), 6.0)
        assert [action.slot for action in todo(ledger, Close)] == [idle]
        assert ledger.size == 3
        give_back(ledger, second, 7.0)
        assert second.state is State.IDLE
        give_back(ledger, first, 7.0)
        assert [action.slot for action in todo(ledger, Close)] == [first]
        assert ledger.size == 2
        assert third.state is State.IN_USE

    def test_a_larger_pool_serves_its_line_at_once(self):
        ledger = book(min_size=0, max_size=1)
        borrowed(ledger, 1)
        waiter = Waiter(0.0)
        ledger.join(waiter, 0.0)
        assert not todo(ledger, Open)
        ledger.resize(PoolPolicy(min_size=0, max_size=2), 1.0)
        grow(ledger, 1.0)
        assert waiter.slot is not None

    def test_draining_replaces_new_before_old(self):
        ledger = book(min_size=2, max_size=4)
        old = borrowed(ledger, 2)
        for slot in old:
            give_back(ledger, slot, 0.0)
        ledger.drain(1.0)
        assert not todo(ledger, Close), "the old ones serve until the new ones are there"
        out = ledger.take(1.0)
        assert out in old
        assert len(grow(ledger, 2.0)) == 2
        [closed] = todo(ledger, Close)
        assert {closed.slot, out} == set(old)
        give_back(ledger, out, 3.0)
        assert [action.slot for action in todo(ledger, Close)] == [out]
        assert ledger.size == len(ledger.idle) == 2

    def test_draining_a_full_pool_makes_room_one_at_a_time(self):
        ledger = book(min_size=2, max_size=2)
        for slot in borrowed(ledger, 2):
            give_back(ledger, slot, 0.0)
        ledger.drain(1.0)
        for _ in range(2):
            assert len(todo(ledger, Close)) == 1
            assert len(grow(ledger, 2.0)) == 1
        assert not todo(ledger, Close)
        assert not ledger.draining
        assert ledger.size == len(ledger.idle) == 2

    def test_draining_while_the_server_is_away_keeps_the_old_ones(self):
        ledger = book(min_size=1, max_size=2)
        [slot] = borrowed(ledger, 1)
        give_back(ledger, slot, 0.0)
        ledger.drain(1.0)
        [opening] = todo(ledger, Open)
        ledger.open_failed(opening.slot, OSError(), 1.0, transient=True, jitter=0.0)
        assert list(ledger.idle) == [slot]
        ledger.upkeep(ledger.next_due(1.0))
        grow(ledger, 2.0)
        assert slot.state is State.GONE
        assert ledger.size == 1

    def test_a_paused_pool_lends_nothing_and_says_when_all_is_back(self):
        ledger = book(min_size=0, max_size=2)
        idle, out = borrowed(ledger, 2)
        give_back(ledger, idle, 0.0)
        watcher, waiter = Waiter(1.0), Waiter(2.0)
        ledger.watchers.append(watcher)
        ledger.pause(1.0)
        assert ledger.take(2.0) is None
        ledger.join(waiter, 2.0)
        assert waiter.slot is None
        ledger.to_wake.clear()
        give_back(ledger, out, 3.0)
        assert list(ledger.to_wake) == [watcher]
        ledger.resume(4.0)
        assert waiter.slot is not None or waiter.called

    def test_a_leak_is_told_once(self):
        ledger = book(min_size=0, leak_after=10)
        [slot] = borrowed(ledger, 1, now=1.0)
        assert ledger.next_due(1.0) == 11.0
        assert ledger.leaks(10.9) == []
        assert ledger.leaks(11.0) == [slot]
        assert ledger.leaks(12.0) == []
