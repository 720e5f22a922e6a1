"""The ledger, without threads, clock or server: every invariant after every step of any sequence of steps."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from dbkit.errors import LineFullError, PoolClosedError
from dbkit.pool.ledger import TURNS, Ledger
from dbkit.pool.parts import Check, Close, Open, State
from dbkit.pool.policy import PoolPolicy
from dbkit.pool.stats import Histogram


@dataclass(eq=False)
class Slot:
    """What the driver's record is to the ledger."""

    state: State = State.GONE
    generation: int = 0
    idle_since: float = 0.0
    checked_at: float = 0.0
    borrowed_at: float = 0.0
    retire_at: float = math.inf
    retire_why: str = ""
    leak_told: bool = False
    use_time: Histogram = field(default_factory=Histogram)


@dataclass(eq=False)
class Waiter:
    """What a waiting thread is to the ledger."""

    since: float
    due_at: float = 0.0
    called: bool = False
    slot: Slot | None = None
    error: BaseException | None = None


def book(**numbers: object) -> Ledger[Slot, Waiter]:
    return Ledger(PoolPolicy(**numbers), Slot)  # type: ignore[arg-type]


def todo(ledger: Ledger[Slot, Waiter], kind: type) -> list:
    """Take all there is to do of one kind."""
    found = [action for action in ledger.todo if isinstance(action, kind)]
    for action in found:
        ledger.todo.remove(action)
    return found


def give_back(ledger: Ledger[Slot, Waiter], slot: Slot, now: float) -> None:
    """A return, as a driver does it."""
    if ledger.give_back(slot, now):
        ledger.sort_out(slot, now)


def grow(ledger: Ledger[Slot, Waiter], now: float = 0.0) -> list[Slot]:
    """Let every connect that is due succeed."""
    slots = [action.slot for action in todo(ledger, Open)]
    for slot in slots:
        ledger.opened(slot, now, seconds=0.001, jitter=0.0)
    return slots


def borrowed(ledger: Ledger[Slot, Waiter], count: int, now: float = 0.0) -> list[Slot]:
    """Borrow so many, growing as needed."""
    slots = []
    for _ in range(count):
        slot = ledger.take(now)
        if slot is None:
            waiter = Waiter(now)
            ledger.join(waiter, now)
            grow(ledger, now)
            if waiter.called:
                ledger.look(waiter, now)
            slot = waiter.slot
        assert slot is not None
        slots.append(slot)
    ledger.to_wake.clear()
    return slots


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


class LedgerMachine(RuleBasedStateMachine):
    """Any sequence of steps a driver can make, and some it should not."""

    out = Bundle("out")
    waiting = Bundle("waiting")

    @initialize(
        min_size=st.integers(0, 3),
        extra=st.integers(0, 3),
        fair_after=st.sampled_from([0.0, 0.005, 1.0]),
        max_waiting=st.sampled_from([None, 0, 2]),
        patience=st.sampled_from([0.0, 5.0]),
    )
    def start(self, min_size, extra, fair_after, max_waiting, patience):
        self.now = 100.0
        self.policy = PoolPolicy(
            min_size=min_size,
            max_size=max(1, min_size + extra),
            fair_after=fair_after,
            max_waiting=max_waiting,
            reconnect_timeout=patience,
            max_idle=3.0,
            max_lifetime=20.0,
            keepalive=2.0,
        )
        self.made: list[Slot] = []
        self.ledger: Ledger[Slot, Waiter] = Ledger(self.policy, self.make)
        self.opening: list[Slot] = []
        self.checking: list[Slot] = []
        self.overfull = self.policy.max_size
        self.unsorted: list[Slot] = []
        self.joined: list[Waiter] = []
        self.finished: list[Waiter] = []

    def make(self) -> Slot:
        self.made.append(Slot())
        return self.made[-1]

    def carry_out(self):
        """Take what is to be done; waiters wake only when the machine says so."""
        while self.ledger.todo:
            match self.ledger.todo.popleft():
                case Open(slot):
                    self.opening.append(slot)
                case Check(slot):
                    self.checking.append(slot)
                case Close(slot, why):
                    assert slot.state is State.GONE
                    assert why

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, 1.0, 4.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(target=out)
    def take(self):
        front = next(iter(self.ledger.line), None)
        slot = self.ledger.take(self.now)
        if slot is None:
            return multiple()
        assert front is None or self.now < front.due_at
        assert front is None or self.now - front.since < self.policy.fair_after * TURNS
        assert slot.state is State.IN_USE
        return slot

    @rule(target=waiting)
    def join(self):
        waiter = Waiter(self.now)
        try:
            self.ledger.join(waiter, self.now)
        except (LineFullError, PoolClosedError):
            return multiple()
        self.joined.append(waiter)
        return waiter

    @rule(target=out, waiter=consumes(waiting), patient=st.booleans())
    def wake_up(self, waiter, patient):
        """The waiter's thread runs: for its outcome, because it was called, or because its time is up."""
        if waiter.slot is None and waiter.error is None:
            if patient and waiter.called:
                self.ledger.look(waiter, self.now)
            if waiter.slot is None and waiter.error is None:
                self.ledger.time_out(waiter, self.now)
        self.finished.append(waiter)
        return multiple() if waiter.slot is None else waiter.slot

    @rule(waiter=consumes(waiting))
    def vanish(self, waiter):
        self.ledger.abandon(waiter, self.now, waiter.slot)
        self.finished.append(waiter)

    @rule(slot=consumes(out))
    def give_back(self, slot):
        give_back(self.ledger, slot, self.now)

    @rule(slot=consumes(out))
    def give_back_and_be_slow_to_sort_out(self, slot):
        """Between the two others may do anything: the first needs no lock."""
        if self.ledger.give_back(slot, self.now):
            self.unsorted.append(slot)

    @rule()
    def sort_out(self):
        while self.unsorted:
            self.ledger.sort_out(self.unsorted.pop(), self.now)

    @rule(slot=consumes(out))
    def discard(self, slot):
        self.ledger.discard(slot, self.now, "invalidated")
        self.ledger.discard(slot, self.now, "invalidated")

    @rule(slot=consumes(out), target=waiting)
    def suspect_and_stand_in_front(self, slot):
        waiter = Waiter(self.now)
        self.ledger.suspect(slot, self.now)
        try:
            self.ledger.join(waiter, self.now, first=True)
        except PoolClosedError:
            return multiple()
        self.joined.append(waiter)
        return waiter

    @rule(data=st.data(), outcome=st.sampled_from(["opened", "transient", "permanent"]))
    def a_connect_ends(self, data, outcome):
        self.carry_out()
        if not self.opening:
            return
        slot = self.opening.pop(data.draw(st.integers(0, len(self.opening) - 1)))
        if outcome == "opened":
            self.ledger.opened(slot, self.now, seconds=0.001, jitter=0.5)
        else:
            self.ledger.open_failed(slot, OSError(), self.now, transient=outcome == "transient", jitter=0.5)

    @rule(data=st.data(), alive=st.booleans())
    def a_check_ends(self, data, alive):
        self.carry_out()
        if not self.checking:
            return
        slot = self.checking.pop(data.draw(st.integers(0, len(self.checking) - 1)))
        self.ledger.checked(slot, self.now, alive=alive)

    @rule()
    def upkeep(self):
        self.ledger.upkeep(self.now)

    @rule()
    def an_idle_one_looks_dead(self):
        if self.ledger.idle:
            self.ledger.suspect_idle(self.ledger.idle[0], self.now)

    @rule(slot=out)
    def a_borrower_is_quicker_than_who_suspects_an_idle_one(self, slot):
        if slot.state is State.IN_USE:
            self.ledger.suspect_idle(slot, self.now)
            assert slot.state is State.IN_USE

    @rule()
    def an_idle_one_vanishes(self):
        if self.ledger.idle:
            self.ledger.discard(self.ledger.idle.pop(), self.now, "vanished")

    @rule()
    def dispose(self):
        self.ledger.dispose(self.now)

    @rule(min_size=st.integers(0, 3), extra=st.integers(0, 3))
    def resize(self, min_size, extra):
        self.policy = dataclasses.replace(self.policy, min_size=min_size, max_size=max(1, min_size + extra))
        self.ledger.resize(self.policy, self.now)
        self.overfull = max(self.ledger.size, self.policy.max_size)

    @rule()
    def drain(self):
        self.ledger.drain(self.now)

    @rule()
    def pause(self):
        self.ledger.pause(self.now)

    @rule()
    def resume(self):
        self.ledger.resume(self.now)

    @rule(really=st.integers(0, 9))
    def close(self, really):
        if really == 0:
            self.ledger.close(self.now)

    @invariant()
    def the_books_balance(self):
        if not hasattr(self, "ledger"):
            return
        ledger = self.ledger
        states = [slot.state for slot in self.made]
        assert ledger.size == len(states) - states.count(State.GONE)
        assert ledger.opening == states.count(State.OPENING)
        assert len(ledger.idle) == states.count(State.IDLE)
        assert ledger.in_use == states.count(State.IN_USE)
        assert 0 <= ledger.size <= self.overfull, "after a resize the size only falls until it fits"
        self.overfull = max(ledger.size, self.policy.max_size)
        stats = ledger.stats()
        assert stats.idle + stats.in_use + stats.opening == stats.size

    @invariant()
    def a_slot_has_one_holder(self):
        if not hasattr(self, "ledger"):
            return
        assert len(set(self.ledger.idle)) == len(self.ledger.idle)
        assert all(slot.state is State.IDLE for slot in self.ledger.idle)
        handed = [waiter.slot for waiter in self.joined if waiter.slot and waiter not in self.finished]
        assert len(set(handed)) == len(handed)
        assert all(slot.state is State.IN_USE for slot in handed)

    @invariant()
    def a_waiter_has_one_outcome(self):
        if not hasattr(self, "ledger"):
            return
        for waiter in self.joined:
            in_line = waiter in self.ledger.line
            outcomes = [waiter.slot is not None, waiter.error is not None, in_line, waiter in self.finished]
            assert any(outcomes)
            assert not (waiter.slot is not None and waiter.error is not None)
            assert not (in_line and (waiter.slot is not None or waiter.error is not None))

    @invariant()
    def nobody_waits_while_there_is_something_for_him(self):
        if not hasattr(self, "ledger") or self.ledger.closed:
            return
        ledger = self.ledger
        line = list(ledger.line)
        if self.unsorted or self.ledger.paused:
            return  # somebody is about to look, or nobody may
        if line and ledger.idle:
            assert line[0].called, "idle slots, and the front waiter was neither served nor called"
        backing_off = ledger.reconnecting.failures > 0
        if len(line) > len(ledger.idle) + ledger.opening and not backing_off and not line[0].called:
            assert ledger.size >= self.policy.max_size, "room to grow, and nothing opening for the line"
        if backing_off and line and not ledger.idle and not ledger.opening and ledger.size < self.policy.max_size:
            assert ledger.next_due(self.now) < math.inf, "an outage without a next attempt"

    @invariant()
    def draining_ends_and_loses_nothing(self):
        if not hasattr(self, "ledger") or self.ledger.closed or self.unsorted:
            return
        old = [slot for slot in self.ledger.idle if slot.generation != self.ledger.generation]
        assert not old or self.ledger.draining

    @invariant()
    def the_overtaking_limit_is_the_front_waiters(self):
        if not hasattr(self, "ledger"):
            return
        front = next(iter(self.ledger.line), None)
        expected = math.inf if front is None else front.due_at
        if self.ledger.paused:
            expected = -math.inf
        assert self.ledger.overtake_until == expected

    def teardown(self):
        """Everybody comes back, every job ends: nothing is out, and all of ``max_size`` can be borrowed again."""
        if not hasattr(self, "ledger"):
            return
        for waiter in self.joined:
            if waiter not in self.finished:
                self.ledger.abandon(waiter, self.now, waiter.slot)
        for slot in self.made:
            give_back(self.ledger, slot, self.now)
        self.sort_out()
        self.ledger.resume(self.now)
        for _ in range(20):
            self.now += 10
            self.ledger.upkeep(self.now)
            self.carry_out()
            for slot in self.opening:
                self.ledger.opened(slot, self.now, seconds=0.0, jitter=0.0)
            for slot in self.checking:
                self.ledger.checked(slot, self.now, alive=True)
            self.opening, self.checking = [], []
        assert self.ledger.in_use == self.ledger.opening == 0
        assert not self.ledger.line
        assert not any(slot.generation != self.ledger.generation for slot in self.ledger.idle)
        if self.ledger.closed:
            assert self.ledger.size == 0
        else:
            assert len(borrowed(self.ledger, self.policy.max_size, self.now)) == self.policy.max_size


LedgerMachine.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
TestAnySequence = LedgerMachine.TestCase
