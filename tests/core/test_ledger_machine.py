"""The ledger, without threads, clock or server: every invariant after every step of any sequence of steps."""

from __future__ import annotations

import dataclasses
import math

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from dbkit.core.ledger import Ledger
from dbkit.core.policy import PoolPolicy
from dbkit.core.types import TURNS, Check, Close, Open, State
from dbkit.pool.errors import LineFullError, PoolClosedError

from .ledgers import Slot, Waiter, borrowed, give_back


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
