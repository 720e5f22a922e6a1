"""A driver without threads for the state machine: it carries out what a ledger decides, and knows what must hold."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from typing import Any

from dbkit.core.ledger import Ledger
from dbkit.core.policy import PoolPolicy
from dbkit.core.reasons import CloseReason
from dbkit.core.types import Check, Close, Open, Refused, State, Watch

from .ledgers import Slot, Waiter

REACHED: Counter[object] = Counter()
"""How often each public method, state, close reason and watch was met, over all examples."""

PUBLIC = [name for name, _ in inspect.getmembers(Ledger, inspect.isfunction) if not name.startswith("_")]


def counted(name: str) -> Any:
    method = getattr(Ledger, name)

    def call(self: Any, *args: Any, **named: Any) -> Any:
        REACHED[name] += 1
        return method(self, *args, **named)

    return call


Counted: Any = type("Counted", (Ledger,), {name: counted(name) for name in PUBLIC})


class Model:
    """One pool, its borrowers and its jobs. Everything that could happen at the same time happens one by one."""

    def __init__(self, policy: PoolPolicy) -> None:
        self.now = 100.0
        self.policy = policy
        self.made: list[Slot] = []
        self.ledger: Ledger[Slot, Waiter] = Counted(policy, self.make)
        self.out: list[tuple[Slot, int]] = []
        """Borrowed, with the borrower."""
        self.unsorted: list[Slot] = []
        """Given back without the lock; the lock comes later."""
        self.asleep: list[Waiter] = []
        """In line, or with an outcome that they do not know yet."""
        self.waited = 0.0
        """Seconds that all borrowers had waited at the last look."""
        self.breathing: set[Waiter] = set()
        """Will look again by themselves."""
        self.watching: list[tuple[Waiter, Watch]] = []
        self.attempts: list[Slot] = []
        self.checks: list[Slot] = []
        self.reopening: list[tuple[Slot, int, int]] = []
        self.condemned: set[Slot] = set()
        self.lent: dict[Slot, tuple[object, float]] = {}
        self.lends = self.people = 0
        self.overfull = policy.max_size
        self.resting = False

    def make(self) -> Slot:
        self.made.append(Slot())
        return self.made[-1]

    # ---- what borrowers do

    def borrow(self) -> None:
        self.people += 1
        slot = self.ledger.take(self.now, self.people)
        if slot is not None:
            front = next(iter(self.ledger.line), None)
            assert front is None or self.now < front.due_at, "overtook a waiter that is due"
            self.out.append((slot, self.people))
            return
        self.join(Waiter(self.now, holder=self.people))

    def join(self, waiter: Waiter, *, first: bool = False) -> None:
        before = list(self.ledger.line)
        try:
            self.ledger.join(waiter, self.now, first=first)
        except Refused:
            assert self.ledger.closed or (not first and self.policy.max_waiting is not None)
            assert list(self.ledger.line) == before
            return
        self.resting = False
        self.asleep.append(waiter)
        if waiter in self.ledger.line and not first:
            assert list(self.ledger.line)[-1] is waiter, "joined anywhere but at the end"

    def wake_one(self) -> None:
        """The next who is to be woken runs."""
        while self.ledger.to_wake:
            waiter = self.ledger.to_wake.popleft()
            if waiter in self.asleep:
                self.run(waiter)
                return
            for told in [told for told in self.watching if told[0] is waiter]:
                self.watching.remove(told)
                REACHED[told[1]] += 1

    def run(self, waiter: Waiter) -> None:
        """A waiter looks around: it was woken, or its breath is over."""
        self.breathing.discard(waiter)
        if waiter in self.ledger.line and self.ledger.look(waiter, self.now) < math.inf:
            self.breathing.add(waiter)
        self.leave_with_outcome(waiter)

    def leave_with_outcome(self, waiter: Waiter) -> None:
        assert waiter.slot is None or waiter.error is None
        if waiter.slot is not None:
            assert waiter.slot.holder == waiter.holder
            self.out.append((waiter.slot, waiter.holder))
        if waiter.slot is not None or waiter.error is not None:
            self.asleep.remove(waiter)
            self.breathing.discard(waiter)

    def time_out(self, waiter: Waiter) -> None:
        before = self.ledger.totals.timeouts
        self.ledger.time_out(waiter, self.now)
        if waiter.slot is None and waiter.error is None:
            assert self.ledger.totals.timeouts == before + 1
            assert waiter not in self.ledger.line
            self.asleep.remove(waiter)
            self.breathing.discard(waiter)
        else:
            self.leave_with_outcome(waiter)

    def vanish(self, waiter: Waiter) -> None:
        self.ledger.abandon(waiter, self.now, waiter.slot)
        self.asleep.remove(waiter)
        self.breathing.discard(waiter)

    def give_back(self, slot: Slot, *, slowly: bool = False) -> None:
        if self.ledger.give_back(slot, self.now):
            if slowly:
                self.unsorted.append(slot)
            else:
                self.ledger.sort_out(slot, self.now)

    def sort_out(self) -> None:
        while self.unsorted:
            self.ledger.sort_out(self.unsorted.pop(), self.now)

    # ---- what jobs do

    def carry_out(self) -> None:
        while self.ledger.todo:
            match self.ledger.todo.popleft():
                case Open(slot):
                    assert not self.resting, "opened one in a pool that rests"
                    self.attempts.append(slot)
                case Check(slot):
                    self.checks.append(slot)
                case Close(slot, reason):
                    assert slot.state is State.GONE
                    assert isinstance(reason, CloseReason)

    def reopened(self, slot: Slot, holder: int, generation: int) -> None:
        self.out.append((slot, holder))
        try:
            self.ledger.reopened(slot, generation, self.now, seconds=0.1, jitter=0.0)
        except Refused:
            assert self.ledger.closed
            return
        if generation >= self.ledger.oldest:
            self.condemned.discard(slot)
        self.resting = False

    def end_generation(self) -> None:
        """Everything that there is must not be lent any more."""
        self.condemned |= {slot for slot in self.made if slot.state is not State.GONE}

    # ---- what must hold

    def check(self) -> None:
        self.carry_out()
        self.counts_are_right()
        self.lending_is_right()
        self.outcomes_are_told()
        if not self.unsorted:
            self.line_is_served()
            self.states_are_right()

    def counts_are_right(self) -> None:
        ledger, states = self.ledger, Counter(slot.state for slot in self.made)
        REACHED.update(states)
        assert ledger.size == len(self.made) - states[State.GONE]
        assert ledger.opening == states[State.OPENING] == len(self.attempts) + len(self.checks)
        assert len(set(ledger.idle)) == len(ledger.idle) == states[State.IDLE]
        assert all(slot.state is State.IDLE for slot in ledger.idle)
        assert ledger.in_use == states[State.IN_USE]
        assert 0 <= ledger.size <= self.overfull, "after a resize the size only falls until it fits"
        self.overfull = max(ledger.size, self.policy.max_size)
        stats = ledger.stats()
        assert stats.idle + stats.in_use + stats.opening == stats.size == ledger.size
        waited = ledger.waited(self.now)
        assert waited >= self.waited * (1 - 1e-9), "what somebody waited is forgotten"
        self.waited = waited
        assert stats.opens - sum(stats.closes.values()) == ledger.size - len(self.attempts)

    def lending_is_right(self) -> None:
        lent = {slot: (slot.holder, slot.borrowed_at) for slot in self.made if slot.state is State.IN_USE}
        new = [slot for slot, lend in lent.items() if self.lent.get(slot) != lend]
        self.lent = lent
        self.lends += len(new)
        if new:
            assert not self.ledger.paused, "lent while paused"
            assert not self.ledger.closed, "lent after closing"
            assert not self.condemned & set(new), "lent after its generation ended"
        for slot, holder in self.out:
            assert slot.state is not State.IN_USE or slot.holder == holder
        assert len({slot for slot, _ in self.out}) == len(self.out), "lent twice"
        assert set(lent) == {slot for slot, _ in self.out if slot.state is State.IN_USE} | {
            slot for slot, _, _ in self.reopening
        } | {waiter.slot for waiter in self.asleep if waiter.slot is not None}

    def outcomes_are_told(self) -> None:
        ledger = self.ledger
        to_wake = set(ledger.to_wake)
        for waiter in self.asleep:
            outcomes = (waiter.slot is not None, waiter.error is not None, waiter in ledger.line)
            assert sum(outcomes) == 1
            assert waiter in ledger.line or waiter in to_wake, "has an outcome, and nobody wakes it"
            if waiter.called and waiter in ledger.line:
                due = ledger.overtake_until <= self.now or next(iter(ledger.line)) is not waiter
                assert waiter in to_wake or waiter in self.breathing or due, "called, and nobody wakes it"
        for waiter, watch in self.watching:
            assert (waiter, watch) in ledger.watchers or waiter in to_wake, "told, and nobody wakes it"
            if (waiter, watch) in ledger.watchers and not self.unsorted:
                assert not {
                    Watch.WARM: ledger.size - ledger.opening >= self.policy.min_size,
                    Watch.ALL_BACK: ledger.in_use == 0,
                    Watch.ALL_CLOSED: ledger.size == 0,
                }[watch], "its moment has come, and nobody told it"

    def line_is_served(self) -> None:
        ledger, line = self.ledger, list(self.ledger.line)
        if ledger.closed:
            assert not line
            assert not ledger.idle
            assert ledger.wanted() == 0
            return
        front = line[0] if line else None
        if front is not None and ledger.idle and not ledger.paused:
            assert self.now < front.due_at, "idle beside a waiter that is due"
            assert front in ledger.to_wake or front in self.breathing, "idle, and the front is not about to look"
        missing = len(line) > len(ledger.idle) + ledger.opening or (
            ledger.started and ledger.size < self.policy.min_size
        )
        if missing and ledger.size < self.policy.max_size:
            assert ledger.reconnecting.failures, "room to grow, something missing, and nothing is being opened"
            waited_for = bool(line) or ledger.somebody_waits_for_a_connection()
            assert ledger.opening or ledger.next_due(self.now) <= max(
                self.now, ledger.reconnecting.retry_at(somebody_waits=waited_for)
            ), "an outage without a next attempt"
        if ledger.reconnecting.riding_out and line and not ledger.opening:
            assert ledger.reconnecting.retry_at(somebody_waits=True) <= self.now + 0.5 or not missing

    def states_are_right(self) -> None:
        ledger = self.ledger
        living = [slot for slot in self.made if slot.state is not State.GONE]
        if not ledger.closed:
            old = any(ledger.oldest <= slot.generation < ledger.generation for slot in living)
            assert ledger.draining or not old, "draining ended before everything was replaced"
            assert ledger.size <= self.policy.max_size or not ledger.idle
        over = ledger.size > self.policy.max_size
        assert not (self.resting and ledger.started)
        front = next(iter(ledger.line), None)
        expected = math.inf if front is None else front.due_at
        assert ledger.overtake_until == (-math.inf if ledger.paused or ledger.closed else expected)
        if ledger.paused or ledger.draining or ledger.closed or over:
            assert ledger.quiet_until == -math.inf
        elif front is None:
            assert ledger.quiet_until == math.inf
        elif not front.called:
            assert ledger.quiet_until == -math.inf
        else:
            assert ledger.quiet_until <= min(front.due_at, ledger._overtaking_until)
