"""All that time brings about and the owner of a pool orders: upkeep, sizes, draining, pausing, the end.

Pure, as ``ledger.py``, which builds on it and states the invariants.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dbkit.core.matching import GONE, IDLE, IN_USE, OPENING, Matching
from dbkit.core.reasons import CloseReason
from dbkit.core.types import Check, Refusal, Refused, S, W, Watch, opened_in, quiet_since

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbkit.core.policy import PoolPolicy


class Operations(Matching[S, W]):
    """Upkeep and the owner's orders. Every call is made under the driver's lock."""

    # ---- upkeep

    def upkeep(self, now: float) -> None:
        """Retire what is too old, shrink what is surplus, have checked what was quiet for long, refill, retry."""
        policy = self.policy
        self._close_idle([slot for slot in self.idle.copy() if now >= slot.retire_at], CloseReason.MAX_LIFETIME)
        if policy.max_idle is not None:
            surplus = max(0, self.size - policy.min_size)
            stale = [slot for slot in self.idle.copy() if now >= slot.idle_since + policy.max_idle]
            self._close_idle(stale[:surplus], CloseReason.MAX_IDLE)
        if policy.keepalive is not None:
            for slot in self.idle.copy():
                if now >= quiet_since(slot) + policy.keepalive:
                    self.suspect_idle(slot, now)
        self.settle(now)

    def _close_idle(self, slots: Iterable[S], reason: CloseReason) -> None:
        for slot in slots:
            if self._withdraw(slot):
                self._retire(slot, reason)

    def suspect(self, slot: S, now: float) -> None:
        """Its holder says that this slot's connection may be dead: it is set aside and checked."""
        if slot.state is IN_USE:
            self._set_aside(slot, now)

    def suspect_idle(self, slot: S, now: float) -> None:
        """As ``suspect``, for one seen idle; if a borrower was quicker, that has it."""
        if self._withdraw(slot):
            self._set_aside(slot, now)

    def _set_aside(self, slot: S, now: float) -> None:
        slot.state, self.opening = OPENING, self.opening + 1
        self.todo.append(Check(slot))
        self.settle(now)

    def leaks(self, now: float) -> list[S]:
        """Slots that have been out for longer than ``leak_after`` and not been told of yet; they count as told now."""
        patience = self.policy.leak_after
        if patience is None:
            return []
        leaks = [slot for slot in self._out_untold() if now >= slot.borrowed_at + patience]
        for slot in leaks:
            slot.leak_told_at = slot.borrowed_at
        self.totals.leaks += len(leaks)
        return leaks

    def _living(self) -> list[S]:
        return [slot for slot in self.slots if slot.state is not GONE]

    def _out_untold(self) -> list[S]:
        return [slot for slot in self.slots if slot.state is IN_USE and slot.leak_told_at != slot.borrowed_at]

    def next_due(self, now: float) -> float:
        """When ``upkeep`` next has something to do, at the earliest; infinity for never.

        Connections that are out count as if they came back now, so the answer holds until something is opened or fails.
        """
        policy = self.policy
        idle = self.idle.copy()
        due = [slot.retire_at for slot in self._living() if slot.state is IDLE or now < slot.retire_at]
        if self.size > policy.min_size and policy.max_idle is not None:
            due.append(min((slot.idle_since for slot in idle), default=now) + policy.max_idle)
        if self.size and policy.keepalive is not None:
            due.append(min(map(quiet_since, idle), default=now) + policy.keepalive)
        if policy.leak_after is not None:
            due.extend(slot.borrowed_at + policy.leak_after for slot in self._out_untold())
        if self.reconnecting.failures and not self.opening and self.wanted() > 0:
            waited_for = self.somebody_waits_for_a_connection()
            due.append(max(self.reconnecting.retry_at(somebody_waits=waited_for), now))
        return min(due, default=math.inf)

    # ---- operations

    def warm_up(self, watcher: W, now: float) -> None:
        """Keep the minimum from now on; the watcher is told when it is open, or gets the error of an attempt.

        Raises:
            Refused: the pool is closed.
        """
        if self.closed:
            raise Refused(Refusal.CLOSED, "the pool is closed for good, and cannot be warmed up")
        self.started = True
        self.watchers.append((watcher, Watch.WARM))
        self.settle(now)

    def resize(self, policy: PoolPolicy, now: float) -> None:
        """Go by these numbers from now on. While the pool is over its maximum, connections go as they are met."""
        self.policy = policy
        self.settle(now)

    def drain(self, now: float) -> None:
        """Replace every connection: idle ones new before old, those that are out when they come back."""
        self.generation += 1
        self.draining = True
        self.settle(now)

    def invalidate(self, slot: S | None, now: float) -> None:
        """The server went away under this slot's connection: all that were opened before now must go.

        Those who find out later that theirs has gone the same way change nothing more.
        """
        if slot is None or opened_in(slot) >= self.oldest:
            self._end_generation(CloseReason.INVALIDATED, now)

    def dispose(self, now: float) -> None:
        """Everything there is must go; rest until the next borrow, unless somebody is warming the pool up."""
        self.started = any(watch is Watch.WARM for _, watch in self.watchers)
        self._end_generation(CloseReason.DISPOSED, now)

    def _end_generation(self, reason: CloseReason, now: float) -> None:
        self.generation += 1
        self.oldest = self.generation
        self.ended_by = reason
        self.draining = False
        self._refresh()
        self._close_idle(self.idle.copy(), reason)
        self.settle(now)

    def pause(self, now: float, watcher: W | None = None) -> None:
        """Nobody gets a connection until ``resume``; borrowers stand in line. The watcher is told when all are back."""
        self.paused = True
        if watcher is not None:
            self.watchers.append((watcher, Watch.ALL_BACK))
        self.settle(now)

    def resume(self, now: float) -> None:
        """Serve the line again. Those who wait for the pause to be complete wait in vain, and are told."""
        self.paused = False
        self.to_wake.extend(watcher for watcher, watch in self.watchers if watch is Watch.ALL_BACK)
        self.watchers = [(watcher, watch) for watcher, watch in self.watchers if watch is not Watch.ALL_BACK]
        self.settle(now)

    def close(self, now: float, watcher: W | None = None) -> None:
        """Refuse newcomers, those in line and those who warm up; close what is idle now and what is out on return."""
        self.closed = True
        self.started = False
        told = [warming for warming, watch in self.watchers if watch is Watch.WARM]
        self.watchers = [(other, watch) for other, watch in self.watchers if watch is not Watch.WARM]
        for waiter in [*self.line, *told]:
            waiter.error = Refused(Refusal.CLOSED, "the pool was closed while this borrower waited for a connection")
            self.to_wake.append(waiter)
        self.totals.waited_in_vain += sum(now - waiter.since for waiter in self.line)
        self.line.clear()
        if watcher is not None:
            self.watchers.append((watcher, Watch.ALL_CLOSED))
        self._end_generation(CloseReason.CLOSED, now)

    def forget(self, watcher: W) -> None:
        """The watcher waits no longer."""
        self.watchers = [(other, watch) for other, watch in self.watchers if other is not watcher]
