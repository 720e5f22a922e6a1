"""The ledger, without threads, clock or server: every invariant after every step of any sequence of steps."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dbkit.core.policy import PoolPolicy
from dbkit.core.reasons import CloseReason
from dbkit.core.types import Refused, State, Watch

from .ledgers import Slot, Waiter, borrowed
from .pool_model import PUBLIC, REACHED, Counted, Model

EXAMPLES: Counter[str] = Counter()
which = st.sampled_from(range(8))
"""Which of several, counted round."""

OPERATIONS = [
    "pause",
    "resume",
    "drain",
    "dispose",
    "invalidate",
    "resize",
    "warm_up",
    "warm_up",
    "recount",
    "forget",
    "forget",
    "rebuild",
    "close",
    "close",
]


class LedgerMachine(RuleBasedStateMachine):
    """Any sequence of steps that a driver can make, and some that it should not.

    Few rules of many kinds, since Hypothesis switches rules off by the dozen to explore what the others do: with a
    rule for each method hardly any example ever lent a slot.
    """

    @initialize(
        min_size=st.sampled_from(range(4)),
        extra=st.sampled_from(range(4)),
        fair_after=st.sampled_from([0.0, 0.005, 1.0]),
        max_waiting=st.sampled_from([None, None, 0, 2]),
        patience=st.sampled_from([0.0, 5.0]),
        spare=st.sampled_from(range(3)),
        spoiled=st.sampled_from(["suspect", "reopen", *CloseReason]),
        at_last=st.sampled_from([*OPERATIONS, "grow old", "fail"]),
    )
    def a_pool_at_work(self, min_size, extra, fair_after, max_waiting, patience, spare, spoiled, at_last):
        self.spoiled, self.at_last = spoiled, at_last
        self.model = Model(
            PoolPolicy(
                min_size=min_size,
                max_size=max(1, min_size + extra),
                fair_after=fair_after,
                max_waiting=max_waiting,
                reconnect_timeout=patience,
                max_idle=3.0,
                max_lifetime=20.0,
                keepalive=2.0,
                leak_after=5.0,
            )
        )
        for _ in range(max(1, self.model.policy.max_size - spare)):
            self.borrow()
            self.an_attempt_ends(0, "opened")
            self.somebody_wakes_up()
        EXAMPLES["all"] += 1

    @rule()
    def borrow(self):
        self.model.borrow()

    @rule(
        times=st.sampled_from(range(1, 5)),
        then=st.sampled_from([*OPERATIONS, "grow old", "fail", *["go on"] * 10]),
        number=which,
    )
    def work(self, times, then, number):
        """An ordinary moment: somebody gives back, somebody is served, somebody comes, an attempt succeeds.

        Now and then an operation follows: a rule of its own is switched off too often to be relied on.
        """
        for _ in range(times):
            self.come_back(0, "plainly")
            self.somebody_wakes_up()
            self.borrow()
            self.an_attempt_ends(0, "opened")
            self.somebody_wakes_up()
            self.model.check()
        if then == "grow old":
            self.time_passes_and_upkeep_comes(4.0, suspicious=False)
            self.a_check_ends(0, alive=number % 2 == 0)
            self.time_passes_and_upkeep_comes(20.0, suspicious=False)
        elif then == "fail":
            self.a_connection_is_no_good(0, CloseReason.INVALIDATED)
            self.borrow()
            self.an_attempt_ends(0, "refused")
        elif then != "go on":
            self.operate(then, number)

    @rule(tight=st.booleans())
    def come_back_at_once(self, tight):
        """Give a connection back and stand in line again, as a tight loop does."""
        if self.model.out:
            slot, holder = self.model.out.pop(0)
            self.model.give_back(slot)
            self.model.now += 0.0001 if tight else 0.1
            self.model.join(Waiter(self.model.now, holder=holder))

    @rule()
    def somebody_wakes_up(self):
        self.model.wake_one()

    @rule(who=which, why=st.sampled_from(["breath", "breath", "time out", "vanish"]))
    def somebody_stirs(self, who, why):
        model = self.model
        if why == "breath" and model.breathing:
            breathing = [waiter for waiter in model.asleep if waiter in model.breathing]
            model.run(breathing[who % len(breathing)])
        elif why != "breath" and model.asleep:
            waiter = model.asleep[who % len(model.asleep)]
            (model.time_out if why == "time out" else model.vanish)(waiter)

    @rule(who=which, how=st.sampled_from(["plainly", "plainly", "slowly", "twice"]))
    def come_back(self, who, how):
        model = self.model
        if model.out:
            slot, _ = model.out.pop(who % len(model.out))
            model.give_back(slot, slowly=how == "slowly")
            if how == "twice" and slot.state is not State.IN_USE:
                model.give_back(slot)

    @rule()
    def slow_ones_are_sorted_out(self):
        self.model.sort_out()

    @rule(who=which, how=st.sampled_from(["suspect", "reopen", *CloseReason]))
    def a_connection_is_no_good(self, who, how):
        model, ledger = self.model, self.model.ledger
        if not model.out:
            return
        slot, holder = model.out.pop(who % len(model.out))
        if how == "suspect":
            alive = slot.state is State.IN_USE
            ledger.suspect(slot, model.now)
            if alive:
                model.lent.pop(slot, None)
                model.join(Waiter(model.now, holder=holder), first=True)
        elif how == "reopen":
            slot.generation = slot.generation if slot.generation < 0 else ~slot.generation
            model.condemned.add(slot)
            try:
                model.reopening.append((slot, holder, ledger.reopening()))
            except Refused:
                model.out.append((slot, holder))
        else:
            for _ in range(2):
                ledger.discard(slot, model.now, how)

    @rule(who=which)
    def a_holder_has_reopened(self, who):
        if self.model.reopening:
            self.model.reopened(*self.model.reopening.pop(who % len(self.model.reopening)))

    @rule(who=which, outcome=st.sampled_from(["opened", "opened", "opened", "away", "refused"]))
    def an_attempt_ends(self, who, outcome):
        model = self.model
        model.carry_out()
        if not model.attempts:
            return
        slot = model.attempts.pop(who % len(model.attempts))
        if outcome == "opened":
            current = slot.generation == model.ledger.generation
            model.ledger.opened(slot, model.now, seconds=0.001, jitter=0.5)
            model.resting = model.resting and not current
        else:
            began = model.now - 0.05 * (who % 2)
            model.ledger.open_failed(slot, OSError(), model.now, began=began, refused=outcome == "refused", jitter=0.5)

    @rule(who=which, alive=st.booleans())
    def a_check_ends(self, who, alive):
        if self.model.checks:
            slot = self.model.checks.pop(who % len(self.model.checks))
            self.model.ledger.checked(slot, self.model.now, alive=alive)

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.1, 0.6, 2.0, 4.0]), suspicious=st.booleans())
    def time_passes_and_upkeep_comes(self, seconds, suspicious):
        model, ledger = self.model, self.model.ledger
        model.sort_out()
        model.now += seconds
        ledger.upkeep(model.now)
        for leak in ledger.leaks(model.now):
            assert leak.state is State.IN_USE
        assert ledger.next_due(model.now) > model.now or ledger.line, "upkeep is due again at once"
        if suspicious and ledger.idle:
            ledger.suspect_idle(ledger.idle[0], model.now)

    @rule(what=st.sampled_from(OPERATIONS), number=which)
    def operate(self, what, number):
        model, ledger, now = self.model, self.model.ledger, self.model.now
        watcher = Waiter(now)
        if what == "pause":
            model.watching.append((watcher, Watch.ALL_BACK))
            ledger.pause(now, watcher)
        elif what == "resume":
            ledger.resume(now)
        elif what == "drain":
            ledger.drain(now)
        elif what == "dispose":
            warming = any(watch is Watch.WARM for _, watch in ledger.watchers)
            model.end_generation()
            model.resting = not warming and not ledger.line
            ledger.dispose(now)
        elif what == "invalidate":
            slot = model.out[number % len(model.out)][0] if model.out and number < 6 else None
            if slot is None or max(slot.generation, ~slot.generation) >= ledger.oldest:
                model.end_generation()
            ledger.invalidate(slot, now)
        elif what == "resize":
            least = number % 3
            model.policy = dataclasses.replace(model.policy, min_size=least, max_size=max(1, least + number // 3))
            model.overfull = max(ledger.size, model.policy.max_size)
            ledger.resize(model.policy, now)
        elif what == "warm_up" and not ledger.closed:
            model.watching.append((watcher, Watch.WARM))
            model.resting = False
            ledger.warm_up(watcher, now)
        elif what == "recount":
            self.one_vanishes()
        elif what == "forget" and model.watching:
            gone = model.watching.pop(0)[0]
            ledger.forget(gone)
        elif what == "rebuild":
            lasting = ledger.lasting()
            rebuilt = Counted(model.policy, Slot, lasting)
            assert (rebuilt.closed, rebuilt.paused) == (ledger.closed, ledger.paused)
            assert rebuilt.stats().closes == ledger.stats().closes
            assert rebuilt.quiet_until == (-math.inf if ledger.closed or ledger.paused else math.inf)
        elif what == "close" and number < 3:
            model.watching.append((watcher, Watch.ALL_CLOSED))
            model.end_generation()
            model.resting = True
            ledger.close(now, watcher)

    def one_vanishes(self):
        model, ledger = self.model, self.model.ledger
        model.sort_out()
        before = model.ledger.recount(model.now)
        assert before == 0
        if model.out:
            slot, _ = model.out.pop(0)
            was_there = slot.state is not State.GONE
            model.made.remove(slot)
            model.lent.pop(slot, None)
            model.condemned.discard(slot)
            for waiter in ledger.to_wake:  # it has found out by itself already, and is only woken once too often
                if waiter not in model.asleep:
                    waiter.slot = None
            del slot
            assert model.ledger.recount(model.now) == was_there

    @invariant()
    def all_is_well(self):
        if hasattr(self, "model"):
            self.model.check()

    def teardown(self):
        """Everybody comes back, every job ends: nothing is out, and all of ``max_size`` can be borrowed again."""
        if not hasattr(self, "model"):
            return
        model, ledger = self.model, self.model.ledger
        # Drawn for every example, so that all of them are reached whatever rules were switched off.
        self.a_connection_is_no_good(0, self.spoiled)
        self.model.check()
        self.work(1, self.at_last, 0)
        self.model.check()
        self.work(1, "go on", 0)
        EXAMPLES["lent"] += model.lends > model.policy.max_size
        REACHED.update({CloseReason(reason): count for reason, count in ledger.stats().closes.items()})
        for waiter in list(model.asleep):
            model.vanish(waiter)
        for slot, holder, generation in model.reopening:
            model.reopened(slot, holder, generation)
        for slot, _ in model.out:
            model.give_back(slot)
        model.out, model.reopening = [], []
        model.sort_out()
        ledger.resume(model.now)
        for _ in range(20):
            self.time_passes_and_upkeep_comes(10.0, suspicious=False)
            while ledger.todo or model.attempts or model.checks:
                self.an_attempt_ends(0, "opened")
                self.a_check_ends(0, alive=True)
        while ledger.to_wake:
            model.wake_one()
        assert ledger.in_use == ledger.opening == len(ledger.line) == 0
        assert not ledger.draining or ledger.closed
        assert all(slot.generation == ledger.generation for slot in ledger.idle)
        assert not model.watching, "somebody watches in vain"
        if ledger.closed:
            assert ledger.size == 0
        else:
            assert len(borrowed(ledger, model.policy.max_size, model.now)) == model.policy.max_size


class TestAnySequence(LedgerMachine.TestCase):
    settings = settings(
        max_examples=100,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate,),
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )

    def runTest(self):
        """Run all examples, then see that they were worth it: everything was reached, and most have lent."""
        REACHED.clear()
        EXAMPLES.clear()
        super().runTest()
        everything = [*PUBLIC, *State, *Watch, *CloseReason]
        assert [thing for thing in everything if not REACHED[thing]] == []
        assert EXAMPLES["lent"] >= 0.7 * EXAMPLES["all"], "most examples lend more than they began with"
