"""The books behind the ledger: what there is, and the one place that matches slots with waiters.

Pure, as ``ledger.py``, which builds on it and holds the invariants. A slot's state and the counts that go with it
change in one statement, between whose stores nothing can strike; so an exception from outside, in the midst of a step,
never leaves the books unbalanced. What it may leave is a slot that nobody knows, which its finalizer finds.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Final, Generic
from weakref import WeakSet

from dbkit.core.reconnecting import Reconnecting
from dbkit.core.stats import Histogram, PoolStats
from dbkit.core.types import Check, Close, Open, S, State, W

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbkit.core.policy import PoolPolicy

JITTER: Final = 0.1
"""The share of ``max_lifetime`` by which a connection may retire early, so that no herd retires at once."""

OPENING, IDLE, IN_USE, GONE = State.OPENING, State.IDLE, State.IN_USE, State.GONE


class Books(Generic[S, W]):
    """What there is, and what follows from it.

    Args:
        policy: the pool's numbers.
        new_slot: makes an empty slot, without opening anything.
    """

    def __init__(self, policy: PoolPolicy, new_slot: Callable[[], S]) -> None:
        self.policy = policy
        self._new_slot = new_slot
        self.size = 0
        self.opening = 0
        self.idle: deque[S] = deque()
        """Youngest at the right, where it is borrowed; surplus ages at the left."""
        self.line: OrderedDict[W, None] = OrderedDict()
        self.overtake_until = math.inf
        """Newcomers may take an idle slot before this moment: then the front waiter is due."""
        self.attend_at = math.inf
        """A slot given back before this moment concerns nobody in line, or only one who is about to look anyway."""
        self.slots: WeakSet[S] = WeakSet()
        self.to_wake: deque[W] = deque()
        """To be woken: they have an outcome, or are called to come and look."""
        self.todo: deque[Open[S] | Check[S] | Close[S]] = deque()
        self.generation = 0
        self.opened_generation = 0
        """The youngest generation of which a connection was ever opened."""
        self.started = False
        """The minimum is kept from the first connection on; an unused pool opens nothing."""
        self.paused = False
        self.closed = False
        self.watchers: list[W] = []
        """Those who wait for the end: until nothing is out of a paused pool, nothing left of a closed one."""
        self.draining = False
        """There are slots of an older generation; they are replaced, new before old."""
        self.reconnecting = Reconnecting(policy.reconnect_timeout)
        self.timeouts = 0
        self.refused = 0
        self.opens = 0
        self.open_failures = 0
        self.closes: Counter[str] = Counter()
        self.wait_time = Histogram()
        self.open_time = Histogram()
        self._use_time_of_gone = Histogram()

    def stats(self) -> PoolStats:
        """One consistent snapshot."""
        idle = len(self.idle)
        in_use = self.size - idle - self.opening
        use_time = self._use_time_of_gone.copy()
        for slot in self.slots:
            if slot.state is not GONE:
                use_time.merge(slot.use_time)
        return PoolStats(
            size=self.size,
            idle=idle,
            in_use=in_use,
            opening=self.opening,
            waiting=len(self.line),
            min_size=self.policy.min_size,
            max_size=self.policy.max_size,
            borrows=use_time.count + in_use,
            timeouts=self.timeouts,
            refused=self.refused,
            opens=self.opens,
            open_failures=self.open_failures,
            closes=dict(self.closes),
            wait_time=self.wait_time.copy(),
            use_time=use_time,
            open_time=self.open_time.copy(),
        )

    @property
    def in_use(self) -> int:
        """Slots held by borrowers, or by waiters they were handed to."""
        return self.size - len(self.idle) - self.opening

    # ---- the decisions

    def settle(self, now: float) -> None:
        """Serve the line and grow. The one place that matches slots with waiters; in order:

        1. the pool is closed or paused and what is out is back: whoever watches for that is told;
        2. a slot is idle and the front waiter is due: it is handed to him, as long as both last;
        3. a slot is idle and the front waiter is not due yet: he is called to come and look, once;
        4. somebody stands in line with nothing on its way for him, or the minimum is not there, or slots of an older
           generation are to be replaced: grow.
        """
        if self.watchers and (self.size if self.closed else self.in_use) == 0:
            self.to_wake.extend(self.watchers)
            self.watchers.clear()
        if self.closed:
            return
        while self.idle and self.line and not self.paused:
            if now < self.overtake_until:
                front = next(iter(self.line))
                if not front.called:
                    front.called = True
                    self._front_changed()
                    self.to_wake.append(front)
                break
            if (slot := self._pop_idle()) is not None:
                self._hand_over(slot, now)
        if self.draining:
            self._make_room_to_replace()
        wanted = self.wanted()
        if wanted > 0:
            for _ in range(
                self.reconnecting.allowed(wanted, now, opening=self.opening, somebody_waits=bool(self.line))
            ):
                self._grow(now)

    def wanted(self) -> int:
        """How many more connections the line, the minimum and the replacing ask for, within the maximum."""
        if self.closed:
            return 0
        missing = len(self.line) - len(self.idle) - self.opening
        if self.started:
            missing = max(missing, self.policy.min_size - self.size)
        if self.draining:
            scout = self.opened_generation != self.generation
            missing = max(missing, len(self._outdated()) - self.opening, scout - self.opening)
        return min(missing, self.policy.max_size - self.size)

    def recount(self, now: float) -> None:
        """Put the counts right, after a slot vanished and nothing but its absence tells."""
        states = [slot.state for slot in self.slots]
        vanished = self.size - len(states) + states.count(GONE)
        if vanished:
            self.closes["vanished"] += vanished
            self.size, self.opening = self.size - vanished, states.count(OPENING)
            self.settle(now)

    def _outdated(self) -> list[S]:
        """Idle slots of an older generation, the longest idle first."""
        return [slot for slot in self.idle.copy() if slot.generation != self.generation]

    def can_spare_old(self) -> bool:
        """Whether a connection of an older generation may be closed before its successor is there.

        While the server cannot be reached, or has not been since the draining began, an old connection is better than
        none; but a full pool must close one to find out.
        """
        if self.opened_generation == self.generation:
            return not self.reconnecting.failures
        return self.size >= self.policy.max_size and not self.opening and not self.reconnecting.failures

    def _make_room_to_replace(self) -> None:
        """New before old; only a full pool must close one first. When no old one is left, the draining is over."""
        outdated = self._outdated()
        full = self.size >= self.policy.max_size and not self.opening
        if full and outdated and self.can_spare_old() and self._withdraw(outdated[0]):
            self._retire(outdated[0], "drained")
        if not any(slot.generation != self.generation for slot in self.slots if slot.state is not GONE):
            self.draining = False
            self._front_changed()

    def _grow(self, now: float) -> None:
        slot = self._new_slot()
        slot.generation = self.generation
        slot.idle_since = slot.checked_at = slot.borrowed_at = now
        self.renewed(slot, now, jitter=0.0)
        slot.state, self.opening, self.size = OPENING, self.opening + 1, self.size + 1
        self.slots.add(slot)
        self.todo.append(Open(slot))

    def renewed(self, slot: S, now: float, *, jitter: float) -> None:
        """The slot has a new connection: its life begins."""
        lifetime = self.policy.max_lifetime
        slot.retire_at = math.inf if lifetime is None else now + lifetime * (1 - JITTER * jitter)
        slot.retire_why = "max_lifetime"

    def _hand_over(self, slot: S, now: float) -> None:
        waiter = next(iter(self.line))
        self.to_wake.append(waiter)
        slot.borrowed_at = now
        slot.state, self.opening = IN_USE, self.opening - (slot.state is OPENING)
        waiter.slot = slot
        del self.line[waiter]
        self.wait_time.add(now - waiter.since)
        self._front_changed()

    def _front_changed(self) -> None:
        if self.paused:
            self.overtake_until = self.attend_at = -math.inf
        elif self.line:
            front = next(iter(self.line))
            self.overtake_until = front.due_at
            self.attend_at = front.due_at if front.called else -math.inf
        else:
            self.overtake_until = self.attend_at = math.inf
        if self.draining:
            self.attend_at = -math.inf

    def _pop_idle(self) -> S | None:
        try:
            return self.idle.pop()
        except IndexError:  # a newcomer was quicker
            return None

    def _withdraw(self, slot: S) -> bool:
        """Take this one out of the idle list, if it lies there."""
        try:
            self.idle.remove(slot)
        except ValueError:
            return False
        return True

    def _retire(self, slot: S, why: str) -> None:
        slot.state, self.opening, self.size = GONE, self.opening - (slot.state is OPENING), self.size - 1
        self.closes[why] += 1
        self._use_time_of_gone.merge(slot.use_time)
        self.todo.append(Close(slot, why))
