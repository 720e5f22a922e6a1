"""The ledger: when connections are opened, and how an outage is ridden out."""

from __future__ import annotations

import itertools
import math

import pytest

from dbkit.core.reasons import CloseReason
from dbkit.core.reconnecting import LONGEST_WHILE_WAITED_FOR
from dbkit.core.types import Check, Open, State

from .ledgers import Pool, Waiter, book, borrowed, closed, fail, give_back, grow, queued, todo, woken


class TestGrowing:
    def test_an_unused_pool_opens_nothing(self):
        ledger = book(min_size=2)
        ledger.upkeep(0.0)
        assert not ledger.todo
        assert ledger.next_due(0.0) == math.inf

    def test_the_first_borrow_opens_one_and_its_success_fills_the_minimum(self):
        ledger = book(min_size=3)
        waiter = queued(ledger)
        [first] = grow(ledger, 1.0)
        assert waiter.slot is first
        assert len(todo(ledger, Open)) == 2

    def test_a_connection_is_as_old_as_its_arrival_and_not_suspect_at_once(self):
        ledger = book(min_size=0, max_lifetime=100)
        queued(ledger, 1000.0)
        [slot] = grow(ledger, 1005.0)
        assert (slot.idle_since, slot.checked_at, slot.retire_at) == (1005.0, 1005.0, 1105.0)

    def test_a_connection_attempt_knows_the_context_of_the_waiter_it_is_for(self):
        ledger = book(min_size=3, max_size=5)
        for name in ("first", "second"):
            ledger.join(Waiter(0.0, context=name), 0.0)
        attempts = todo(ledger, Open)
        assert [attempt.context for attempt in attempts] == ["first", "second"]
        ledger.opened(attempts[0].slot, 1.0, seconds=1.0, jitter=0.0)
        assert [attempt.context for attempt in todo(ledger, Open)] == [None], "the minimum is refilled for nobody"

    def test_a_returned_connection_serves_the_waiter_while_the_one_for_it_is_still_opening(self):
        ledger = book(min_size=0, max_size=2)
        [out] = borrowed(ledger, 1)
        waiter = queued(ledger, 1.0)
        give_back(ledger, out, 2.0)
        assert waiter.slot is out
        [opened] = grow(ledger, 3.0)
        assert opened.state is State.IDLE

    def test_a_new_connection_lies_where_surplus_ages(self):
        ledger = book(min_size=3)
        [first] = borrowed(ledger, 1)
        give_back(ledger, first, 1.0)
        grow(ledger, 2.0)
        assert ledger.take(3.0, None) is first

    def test_nobody_is_in_line_twice_for_the_same_room(self):
        ledger = book(min_size=0, max_size=3)
        for _ in range(5):
            queued(ledger)
        assert len(todo(ledger, Open)) == 3

    def test_a_report_that_comes_twice_counts_once(self):
        ledger = book(min_size=0)
        queued(ledger)
        [slot] = grow(ledger, 1.0)
        ledger.opened(slot, 2.0, seconds=1.0, jitter=0.0)
        assert not ledger.open_failed(slot, OSError(), 2.0, began=1.0, refused=False, jitter=0.0)
        assert (ledger.totals.opens, ledger.totals.open_failures, ledger.size) == (1, 0, 1)

    def test_how_long_attempts_took_is_counted(self):
        ledger = book(min_size=0)
        borrowed(ledger, 2)
        assert (ledger.totals.open_time.count, ledger.totals.open_time.total) == (2, pytest.approx(0.002))


class TestFailing:
    def test_a_failed_attempt_wakes_the_front_with_its_error_and_grows_for_the_next(self):
        ledger = book(min_size=0, max_size=1)
        front, second = queued(ledger), queued(ledger)
        fail(ledger, 1.0)
        assert woken(ledger) == [front]
        assert isinstance(front.error, OSError)
        assert second.error is None
        assert ledger.totals.open_failures == 1
        grow(ledger, 1.0)
        assert second.slot is not None

    def test_a_failed_attempt_wakes_those_who_warm_up_too(self):
        ledger = book(min_size=2, max_size=4)
        watcher = Waiter(0.0)
        ledger.warm_up(watcher, 0.0)
        front = queued(ledger)
        fail(ledger, 1.0)
        assert set(woken(ledger)) == {watcher, front}
        assert watcher.error is front.error is not None
        assert not ledger.watchers

    def test_an_error_that_was_told_is_not_kept_alive(self):
        ledger = book(min_size=0)
        waiter = queued(ledger)
        fail(ledger, 1.0)
        assert waiter.error is not None
        assert ledger.reconnecting.last_error is None
        assert ledger.reconnecting.last_words == "away"

    def test_the_minimum_is_refilled_with_backoff_when_nobody_waits(self):
        ledger = book(min_size=2, max_size=2)
        [first] = borrowed(ledger, 1)
        fail(ledger, 0.0, refused=True)
        assert not todo(ledger, Open)
        due = ledger.next_due(0.0)
        assert due < 1
        ledger.upkeep(due)
        assert len(todo(ledger, Open)) == 1
        assert first.state is State.IN_USE


class TestOutage:
    def worked(self, **numbers: object) -> Pool:
        """Return a pool whose only connection was found dead."""
        ledger = book(min_size=0, max_size=4, **numbers)
        [slot] = borrowed(ledger, 1)
        ledger.discard(slot, 0.0, CloseReason.INVALIDATED)
        closed(ledger)
        return ledger

    def test_a_pool_that_has_worked_rides_out_an_outage_with_one_probe_at_a_time(self):
        ledger = self.worked()
        waiters = [queued(ledger)]
        fail(ledger, 0.0)
        waiters += [queued(ledger, 0.01), queued(ledger, 0.01)]
        assert not todo(ledger, Open)
        due = ledger.next_due(0.01)
        assert due == pytest.approx(0.1)
        ledger.upkeep(due)
        [probe] = grow(ledger, due)
        assert waiters[0].slot is probe
        grow(ledger, due)
        assert all(waiter.slot for waiter in waiters)
        assert ledger.reconnecting.failures == 0

    def test_nothing_is_due_while_the_probe_is_under_way(self):
        ledger = self.worked(keepalive=None, max_idle=None, max_lifetime=None)
        queued(ledger)
        fail(ledger, 0.0)
        ledger.upkeep(0.1)
        assert len(todo(ledger, Open)) == 1
        ledger.upkeep(10.0)
        assert not todo(ledger, Open)
        assert ledger.next_due(10.0) == math.inf

    def test_nothing_is_due_when_nobody_wants_anything_of_a_server_that_is_away(self):
        ledger = self.worked(keepalive=None, max_idle=None, max_lifetime=None)
        waiter = queued(ledger)
        fail(ledger, 0.0)
        assert ledger.next_due(0.0) < math.inf
        ledger.leave(waiter, 1.0)
        assert ledger.next_due(1.0) == math.inf

    def test_an_error_is_kept_for_those_who_ride_it_out(self):
        ledger = self.worked()
        waiter = queued(ledger)
        fail(ledger, 0.0)
        assert isinstance(ledger.reconnecting.last_error, OSError)
        assert waiter in ledger.line
        assert not ledger.to_wake

    def test_a_refusal_reaches_the_front_at_once(self):
        ledger = self.worked()
        waiters = [queued(ledger), queued(ledger)]
        fail(ledger, 0.0, refused=True)
        assert all(isinstance(waiter.error, PermissionError) for waiter in waiters)

    @pytest.mark.parametrize("cut_off", [1, 4, 16])
    def test_however_many_were_cut_off_at_once_the_next_attempt_comes_after_one_step(self, cut_off):
        ledger = book(min_size=0, max_size=cut_off)
        for slot in borrowed(ledger, cut_off):
            ledger.discard(slot, 0.0, CloseReason.DEAD)
        for _ in range(cut_off):
            queued(ledger, 0.0)
        fail(ledger, 0.02, began=0.0)
        assert ledger.reconnecting.failures == cut_off
        assert ledger.next_due(0.02) == pytest.approx(0.12)

    def test_while_somebody_waits_a_probe_starts_at_least_every_half_second(self):
        ledger = self.worked(reconnect_timeout=300)
        queued(ledger)
        probes, now = [], 0.0
        while now < 30:
            started = len(fail(ledger, now))
            assert started <= 1, "one probe at a time"
            probes += [now] * started
            now = ledger.next_due(now)
            ledger.upkeep(now)
        gaps = [later - earlier for earlier, later in itertools.pairwise(probes)]
        assert max(gaps) == pytest.approx(LONGEST_WHILE_WAITED_FOR)
        assert gaps[0] == pytest.approx(0.1)
        assert len(probes) < 70

    def test_a_borrower_that_comes_late_in_a_long_outage_waits_for_half_a_second_at_most(self):
        ledger = book(min_size=1, max_size=1)
        [slot] = borrowed(ledger, 1)
        ledger.discard(slot, 0.0, CloseReason.DEAD)
        now = 0.0
        while now < 30:
            fail(ledger, now)
            now = ledger.next_due(now)
            ledger.upkeep(now)
        fail(ledger, now)
        assert ledger.next_due(now) - now == pytest.approx(2.5), "nobody waits, so there is no hurry"
        queued(ledger, now + 0.2)
        assert ledger.next_due(now + 0.2) - now <= LONGEST_WHILE_WAITED_FOR

    @pytest.mark.parametrize("patience", [0, 10])
    def test_beyond_reconnect_timeout_borrowers_are_told_at_once(self, patience):
        ledger = self.worked(reconnect_timeout=patience)
        waiter, now = queued(ledger), 0.0
        while waiter.error is None and now < 60:
            fail(ledger, now)
            if waiter.error is None:
                now = ledger.next_due(now)
                ledger.upkeep(now)
        assert isinstance(waiter.error, OSError)
        assert patience <= now <= patience + LONGEST_WHILE_WAITED_FOR

    def test_those_who_are_told_at_once_are_not_kept_waiting_by_the_backoff(self):
        ledger = self.worked(reconnect_timeout=0)
        for moment in range(5):
            waiter = queued(ledger, moment / 100)
            fail(ledger, moment / 100)
            assert waiter.error is not None

    def test_somebody_who_warms_up_waits_like_a_borrower(self):
        ledger = self.worked(keepalive=None)
        watcher = Waiter(0.0)
        ledger.policy = book(min_size=1, max_size=1, keepalive=None).policy
        ledger.warm_up(watcher, 0.0)
        now = 0.0
        for _ in range(20):
            fail(ledger, now)
            now = ledger.next_due(now)
            ledger.upkeep(now)
        started = now
        fail(ledger, started)
        assert ledger.next_due(started) - started <= LONGEST_WHILE_WAITED_FOR
        ledger.upkeep(started + 1)
        grow(ledger, started + 1)
        assert watcher in ledger.to_wake
        assert watcher.error is None

    def test_a_connection_that_its_holder_opened_again_ends_the_outage(self):
        ledger = self.worked()
        [slot] = borrowed(ledger, 1)
        queued(ledger, 1.0)
        fail(ledger, 1.0)
        waiting = list(ledger.line)
        ledger.reopened(slot, ledger.reopening(), 1.01, seconds=0.01, jitter=0.0)
        [opened] = grow(ledger, 1.01)
        assert waiting[0].slot is opened

    def test_a_check_under_way_counts_as_something_on_its_way(self):
        ledger = book(min_size=0, max_size=2)
        [slot] = borrowed(ledger, 1)
        ledger.suspect(slot, 1.0)
        waiter = queued(ledger, 1.0)
        assert not todo(ledger, Open)
        assert [check.slot for check in todo(ledger, Check)] == [slot]
        ledger.checked(slot, 1.1, alive=True)
        assert waiter.slot is slot
        assert (slot.checked_at, slot.borrowed_at) == (1.1, 1.1)
