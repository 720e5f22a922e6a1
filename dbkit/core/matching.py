"""The state behind the ledger, and the one place that matches slots with waiters.

Pure, as ``ledger.py``, which builds on it and states the invariants. A slot's state and the counts that go with it
change in one statement, between whose stores nothing can strike; so an exception from outside, in the middle of a
step, never leaves the counts unbalanced. At worst it leaves a slot that nobody knows, which its finalizer finds.

**One word for "must go": the generation.** Every connection belongs to the generation in which it was opened.

- ``slot.generation < oldest``: it must not be lent any more (disposed, invalidated, closed). A slot that was
  invalidated by itself has a negative generation.
- ``oldest <= slot.generation < generation``: it is to be replaced (``drain``), and serves until that can be done.
- The pool is over its ``max_size``: a state of the pool; connections go as they are met until it fits.

``retire_at`` is for age only. All of it is looked at when a slot is taken, comes back, or arrives from a job.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic
from weakref import WeakSet

from dbkit.core.policy import show_size
from dbkit.core.reasons import CloseReason
from dbkit.core.reconnecting import Reconnecting
from dbkit.core.stats import PoolStats, Totals
from dbkit.core.types import Check, Close, Open, S, State, W, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbkit.core.policy import PoolPolicy

JITTER: Final = 0.1
"""The share of ``max_lifetime`` by which a connection may retire early, so that no herd retires at once."""

OPENING, IDLE, IN_USE, GONE = State.OPENING, State.IDLE, State.IN_USE, State.GONE


@dataclass(frozen=True, kw_only=True)
class Lasting:
    """State that outlives a ledger: a rebuilt pool, and a forked child's, goes on from it.

    Attributes:
        closed: the pool was closed for good.
        paused: nobody gets a connection until ``resume``.
        totals: what was counted so far.
    """

    closed: bool = False
    paused: bool = False
    totals: Totals = field(default_factory=Totals)


class Matching(Generic[S, W]):
    """Slots, waiters and the pool's state, and the decisions that follow from them.

    Args:
        policy: the pool's numbers.
        new_slot: makes an empty slot, without opening anything.
        lasting: what an earlier ledger handed on.
    """

    def __init__(self, policy: PoolPolicy, new_slot: Callable[[], S], lasting: Lasting | None = None) -> None:
        lasting = lasting or Lasting()
        self.policy = policy
        self._new_slot = new_slot
        self.totals = lasting.totals
        # the slots
        self.size = 0
        self.opening = 0
        self.idle: deque[S] = deque()
        """Youngest at the right, where it is borrowed; surplus ages at the left."""
        self.slots: WeakSet[S] = WeakSet()
        # the borrowers
        self.line: OrderedDict[W, None] = OrderedDict()
        self.watchers: list[tuple[W, Watch]] = []
        self._overtaking_until = -math.inf
        """Newcomers run tight loops: until then connections are left for them, while the front is not due."""
        self._handed_from: object = None
        self._handed_at = -math.inf
        """Who gave back the connection that was last handed over, and when."""
        # what must go
        self.generation = 0
        self.oldest = 0
        """Connections of an earlier generation must not be lent."""
        self.ended_by = CloseReason.DISPOSED
        """Why the last generation ended."""
        self.draining = False
        """There are slots that are to be replaced, new before old."""
        self._opened_generation = 0
        """The youngest generation of which a connection was ever opened."""
        # the pool as a whole
        self.started = False
        """The minimum is kept from the first connection on; an unused pool opens nothing."""
        self.closed = lasting.closed
        self.paused = lasting.paused
        self.reconnecting = Reconnecting(policy.reconnect_timeout)
        # derived, and read without the lock
        self.quiet_until = math.inf
        """A return before this moment concerns nobody: nobody stands in line, or the front was called and will look by
        itself, while newcomers overtake it; and the pool is not paused, draining, over its maximum or closed."""
        self.overtake_until = math.inf
        """Newcomers may take an idle slot before this moment: then the front waiter is due."""
        # for the driver
        self.to_wake: deque[W] = deque()
        """To be woken: they have an outcome, or are called to come and look."""
        self.todo: deque[Open[S] | Check[S] | Close[S]] = deque()
        self._refresh()

    def lasting(self) -> Lasting:
        """The state that a rebuilt pool goes on from."""
        stats = self.stats()
        totals = Totals(
            timeouts=stats.timeouts,
            refused=stats.refused,
            opens=stats.opens,
            open_failures=stats.open_failures,
            leaks=stats.leaks,
            waited_in_vain=self.totals.waited_in_vain,
            closes=self.totals.closes.copy(),
            wait_time=stats.wait_time,
            use_time=stats.use_time,
            open_time=stats.open_time,
        )
        return Lasting(closed=self.closed, paused=self.paused, totals=totals)

    def stats(self) -> PoolStats:
        """One consistent snapshot."""
        totals, idle = self.totals, len(self.idle)
        in_use = self.size - idle - self.opening
        use_time = totals.use_time.copy()
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
            timeouts=totals.timeouts,
            refused=totals.refused,
            opens=totals.opens,
            open_failures=totals.open_failures,
            leaks=totals.leaks,
            closes={str(reason): count for reason, count in totals.closes.items()},
            wait_time=totals.wait_time.copy(),
            use_time=use_time,
            open_time=totals.open_time.copy(),
        )

    @property
    def in_use(self) -> int:
        """Slots held by borrowers, or by waiters they were handed to."""
        return self.size - len(self.idle) - self.opening

    def __repr__(self) -> str:
        most = show_size(self.policy.max_size)
        states = [name for name in ("paused", "draining", "closed") if getattr(self, name)]
        return (
            f"<{self.policy.min_size}-{most}: {len(self.idle)} idle, {self.in_use} in use, {self.opening} opening; "
            + "; ".join([f"{len(self.line)} waiting", *states])
            + ">"
        )

    # ---- the decisions

    def settle(self, now: float) -> None:
        """Serve the line and grow. The one place that matches slots with waiters; in order:

        1. a moment that somebody watches for has come: the watcher is told;
        2. the pool is over its maximum: idle slots are closed until it fits;
        3. a slot is idle and somebody waits: it is handed to the front; but while newcomers overtake and the front is
           not due yet, the front is only called to come and look, once;
        4. somebody stands in line with nothing on its way, or the minimum is not there, or slots are to be replaced:
           grow.
        """
        self._refresh()
        self._serve(now)

    def _serve(self, now: float) -> None:
        """``settle``, where nothing has changed but that a slot lies idle."""
        if self.watchers:
            self._tell_watchers()
        if self.closed:
            return
        if self.size > self.policy.max_size:
            self._close_surplus()
        while self.idle and self.line and not self.paused:
            if now < self.overtake_until and now < self._overtaking_until:
                front = next(iter(self.line))
                if not front.called:
                    front.called = True
                    self.to_wake.append(front)
                    self._refresh()
                break
            if (slot := self._next_idle()) is not None:
                self._hand_over(slot, now)
        if self.draining:
            self._make_room_to_replace()
        if self.size < self.policy.max_size and (wanted := self.wanted()) > 0:
            allowed = self.reconnecting.allowed(
                wanted, now, opening=self.opening, somebody_waits=self.somebody_waits_for_a_connection()
            )
            for _ in range(allowed):
                self._grow(now)

    def _tell_watchers(self) -> None:
        come = {
            Watch.WARM: self.size - self.opening >= min(self.policy.min_size, self.policy.max_size),
            Watch.ALL_BACK: self.in_use == 0,
            Watch.ALL_CLOSED: self.size == 0,
        }
        self.to_wake.extend(watcher for watcher, watch in self.watchers if come[watch])
        self.watchers = [(watcher, watch) for watcher, watch in self.watchers if not come[watch]]

    def somebody_waits_for_a_connection(self) -> bool:
        """Whether a borrower stands in line, or somebody warms the pool up."""
        return bool(self.line) or any(watch is Watch.WARM for _, watch in self.watchers)

    def wanted(self) -> int:
        """How many more connections the line, the minimum and the replacing ask for, within the maximum."""
        if self.closed:
            return 0
        missing = len(self.line) - len(self.idle) - self.opening
        if self.started:
            missing = max(missing, self.policy.min_size - self.size)
        if self.draining:
            scout = self._opened_generation != self.generation
            missing = max(missing, len(self._outdated()) - self.opening, scout - self.opening)
        return min(missing, self.policy.max_size - self.size)

    def _reason_to_go(self, slot: S, now: float) -> CloseReason | None:
        """Why this slot, which came back or arrived, must go now; None if it may stay."""
        if slot.generation < self.oldest:
            return self._reason_of_condemned(slot)
        if self.size > self.policy.max_size:
            return CloseReason.RESIZED
        if now >= slot.retire_at:
            return CloseReason.MAX_LIFETIME
        if slot.generation != self.generation and self.can_spare_old():
            return CloseReason.DRAINED
        return None

    def _reason_of_condemned(self, slot: S) -> CloseReason:
        return self.ended_by if slot.generation >= 0 else CloseReason.INVALIDATED

    def _outdated(self) -> list[S]:
        """Idle slots of an older generation, the longest idle first."""
        return [slot for slot in self.idle.copy() if slot.generation != self.generation]

    def can_spare_old(self) -> bool:
        """Whether a connection that is to be replaced may be closed before its successor is there.

        While the server cannot be reached, or has not been since the draining began, an old connection is better than
        none; but a full pool must close one to find out.
        """
        full = self.size >= self.policy.max_size and not self.opening
        return full or (self._opened_generation == self.generation and not self.reconnecting.failures)

    def _make_room_to_replace(self) -> None:
        """New before old; only a full pool must close one first. When no old one is left, the draining is over."""
        outdated = self._outdated()
        full = self.size >= self.policy.max_size and not self.opening
        if full and outdated and self.can_spare_old() and self._withdraw(outdated[0]):
            self._retire(outdated[0], CloseReason.DRAINED)
        if not any(self.oldest <= slot.generation < self.generation for slot in self.slots if slot.state is not GONE):
            self.draining = False
            self._refresh()

    def _close_surplus(self) -> None:
        while self.size > self.policy.max_size and self.idle:
            try:
                slot = self.idle.popleft()
            except IndexError:  # a newcomer was quicker
                break
            self._retire(slot, CloseReason.RESIZED)
        self._refresh()

    def _grow(self, now: float) -> None:
        waiter = next(islice(self.line, self.opening, None), None)  # those before it have one on its way
        slot = self._new_slot()
        slot.generation = self.generation
        slot.idle_since = slot.checked_at = slot.borrowed_at = now
        self.begin_life(slot, now, jitter=0.0)
        slot.state, self.opening, self.size = OPENING, self.opening + 1, self.size + 1
        self.slots.add(slot)
        self.todo.append(Open(slot, waiter.context if waiter is not None else None))

    def begin_life(self, slot: S, now: float, *, jitter: float) -> None:
        """The slot has a new connection: from now on it ages."""
        lifetime = self.policy.max_lifetime
        slot.retire_at = math.inf if lifetime is None else now + lifetime * (1 - JITTER * jitter)

    def _hand_over(self, slot: S, now: float) -> None:
        waiter = next(iter(self.line))
        self.to_wake.append(waiter)
        if slot.state is IDLE:
            self._handed_from, self._handed_at = slot.holder, now
        slot.borrowed_at = now
        slot.state, self.opening = IN_USE, self.opening - (slot.state is OPENING)
        slot.holder, waiter.slot = waiter.holder, slot
        del self.line[waiter]
        self.totals.wait_time.add(now - waiter.since)
        self._refresh()

    def _refresh(self) -> None:
        """Derive what newcomers and returns read without the lock. Comes before any look at the idle slots."""
        overtake_until = quiet_until = math.inf
        if self.line:
            front = next(iter(self.line))
            overtake_until = front.due_at
            quiet_until = min(overtake_until, self._overtaking_until) if front.called else -math.inf
        if self.paused or self.closed:
            overtake_until = -math.inf
        if self.paused or self.draining or self.closed or self.size > self.policy.max_size:
            quiet_until = -math.inf
        self.overtake_until, self.quiet_until = overtake_until, quiet_until

    def _next_idle(self) -> S | None:
        """The idle slot last given back; those that must go are closed on the way."""
        while True:
            try:
                slot = self.idle.pop()
            except IndexError:  # a newcomer was quicker
                return None
            if slot.generation >= self.oldest:
                return slot
            self._retire(slot, self._reason_of_condemned(slot))

    def _withdraw(self, slot: S) -> bool:
        """Take this one out of the idle list, if it lies there."""
        try:
            self.idle.remove(slot)
        except ValueError:
            return False
        return True

    def _retire(self, slot: S, reason: CloseReason) -> None:
        slot.state, self.opening, self.size = GONE, self.opening - (slot.state is OPENING), self.size - 1
        self.totals.closes[reason] += 1
        self.totals.use_time.merge(slot.use_time)
        self.todo.append(Close(slot, reason))
