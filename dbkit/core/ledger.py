"""The ledger: who has which slot, who stands in line, and every transition between them.

It has no lock, no clock (``now`` is an argument, in seconds of any monotonic clock), no I/O, no logging, and knows
nothing of SQLAlchemy or of threads. It decides; what is to be done it writes into ``to_wake`` and ``todo``, for its
driver to carry out after releasing the lock. It stays there until somebody takes it, so a driver interrupted between
deciding and doing loses nothing: the next one through does it.

Every call is made under the driver's one lock, but for two: ``take`` and ``give_back`` need none. Each moves a slot by
a single ``pop`` or ``append`` of a deque, which is atomic, and owns the slot alone before or after it; whatever they
could have missed meanwhile they look at *after* that move, as those under the lock write *before* they look at
``idle``. So of two that meet, at least one sees the other:

- a returning slot is idle first, then looks for a line; a waiter is in line first, then looks for idle slots;
- a returning slot is idle first, then looks whether it is condemned; who condemns marks it first, then looks for it.

Invariants, checked after every step by ``tests/core/test_ledger_machine.py``:

1. ``idle + in_use + opening == size`` and ``0 <= size <= max_size``, always.
2. A slot is in exactly one state (``State``) and known to exactly one holder: the idle list, its borrower, its waiter,
   or the job that opens or checks it. The ledger itself keeps only weak references to slots that are out.
3. No slot sits idle while a waiter who is due stands in line. If slots are idle while one who is not yet due stands in
   front, he has been called and is about to look (``called``). No waiter stands in line while there is room to
   grow and nothing is being opened for him, unless the front is about to look, or an outage's backoff says not yet.
4. A waiter gets exactly one outcome: a slot, an error, or he leaves. A slot that reaches him too late goes on.
5. Waiters are served in order. A newcomer may overtake only until the one in front is due: ``fair_after`` from when he
   came, for each turn of all connections that he had to wait for anyway (``TURNS`` at most).
6. Whatever frees room - a return, a failed connect, a detach, an invalidation, a retirement, a slot whose holder
   vanished - ends in ``settle``, which serves the line and grows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dbkit.core.matching import GONE, IDLE, IN_USE, OPENING, Books
from dbkit.core.types import BREATH, TURNS, Check, S, W, quiet_since
from dbkit.pool.errors import LineFullError, PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbkit.core.policy import PoolPolicy


class Ledger(Books[S, W]):
    """Every transition between the states of one pool's slots and waiters."""

    # ---- a borrow

    def take(self, now: float) -> S | None:
        """A newcomer's try: the slot last given back, unless a waiter who is due comes first. Needs no lock."""
        if now < self.overtake_until and self.idle:
            try:
                slot = self.idle.pop()
            except IndexError:
                return None
            slot.state = IN_USE
            slot.borrowed_at = now
            return slot
        return None

    def join(self, waiter: W, now: float, *, first: bool = False) -> None:
        """Stand in line; ``first`` for one whose slot turned out dead when it was already his turn.

        Raises:
            PoolClosedError: the pool was closed for good.
            LineFullError: ``max_waiting`` borrowers stand in line with nothing being opened for them.
        """
        if self.closed:
            raise PoolClosedError("the pool is closed for good, nothing can be borrowed from it any more")
        most = self.policy.max_waiting
        if most is not None and not first:
            on_the_way = self.opening + len(self.idle) + max(0, self.policy.max_size - self.size)
            if len(self.line) - on_the_way >= most:
                self.refused += 1
                raise LineFullError(
                    f"{len(self.line)} borrowers already wait for one of {self.policy.max_size} connections, "
                    f"and max_waiting is {most}: refused at once"
                )
        if first:
            waiter.due_at = now
            self.line[waiter] = None
            self.line.move_to_end(waiter, last=False)
        else:
            turns = min(1 + len(self.line) // self.policy.max_size, TURNS)
            waiter.due_at = waiter.since + self.policy.fair_after * turns
            self.line[waiter] = None
        self._front_changed()
        self.settle(now)

    def look(self, waiter: W, now: float) -> float:
        """A called waiter comes to look: what is idle is his, if he is still in front.

        Returns:
            Seconds until he is to look again by himself. One in front who was called and finds nothing was overtaken,
            and would be with the next return, too: he takes a breath, and is not called meanwhile.
        """
        if self.paused or not self.line or next(iter(self.line)) is not waiter:
            waiter.called = False
            self.settle(now)
            return math.inf
        if (slot := self._pop_idle()) is not None:
            self._hand_over(slot, now)
        self.settle(now)
        return BREATH if waiter.called and now < waiter.due_at else math.inf

    def leave(self, waiter: W, now: float) -> bool:
        """A waiter gives up. True if he left empty-handed, False if his outcome was there already."""
        if waiter not in self.line:
            return False
        del self.line[waiter]
        self._front_changed()
        self.settle(now)
        return True

    def time_out(self, waiter: W, now: float) -> None:
        """A waiter's time is up. He leaves, unless his outcome came at the last moment; then he has that."""
        self.look(waiter, now)
        if self.leave(waiter, now):
            self.timeouts += 1

    def abandon(self, waiter: W, now: float, slot: S | None) -> None:
        """A waiter vanishes, by Ctrl-C say: he leaves the line, and the slot he was handed goes on to the next."""
        if not self.leave(waiter, now) and slot is not None and self.give_back(slot, now):
            self.sort_out(slot, now)

    # ---- a return

    def give_back(self, slot: S, now: float) -> bool:
        """The borrower is done; a slot that is not in use is left alone. Needs no lock.

        Returns:
            True if ``sort_out`` must follow, under the lock: for somebody who waits, or because the slot is to retire.
        """
        if slot.state is not IN_USE:
            return False
        slot.use_time.add(now - slot.borrowed_at)
        slot.state = IDLE
        slot.idle_since = now
        self.idle.append(slot)
        return now >= self.attend_at or now >= slot.retire_at

    def sort_out(self, slot: S, now: float) -> None:
        """After ``give_back``: the slot retires if it must, and the line is served."""
        if now >= slot.retire_at:
            why: str | None = slot.retire_why
        elif slot.generation != self.generation and self.can_spare_old():
            why = "drained"
        else:
            why = None
        if why is not None and self._withdraw(slot):
            self._retire(slot, why)
        self.settle(now)

    def discard(self, slot: S, now: float, why: str) -> None:
        """Its holder says that the slot's connection is gone or no good: detached, invalidated, vanished."""
        if slot.state is GONE:
            return
        if slot.state is IN_USE:
            slot.use_time.add(now - slot.borrowed_at)
        self._retire(slot, why)
        self.settle(now)

    # ---- what jobs report

    def opened(self, slot: S, now: float, *, seconds: float, jitter: float) -> None:
        """The connection is there, after ``seconds``. ``jitter`` in [0, 1) shortens its life by up to ``JITTER``."""
        if slot.state is not OPENING:
            return
        self.opens += 1
        self.opened_generation = slot.generation
        self.open_time.add(seconds)
        self.started = True
        self.reconnecting.recovered()
        slot.idle_since = slot.checked_at = now
        self.renewed(slot, now, jitter=jitter)
        self._arrived(slot, now)

    def reopened(self, slot: S, now: float, *, seconds: float, jitter: float) -> None:
        """A slot that is out has a new connection, in place of one that was closed."""
        self.closes[slot.retire_why] += 1
        self.opens += 1
        self.open_time.add(seconds)
        self.renewed(slot, now, jitter=jitter)

    def open_failed(self, slot: S, error: BaseException, now: float, *, transient: bool, jitter: float) -> None:
        """The connect failed. The front waiter gets the real error, unless the outage is one to ride out."""
        if slot.state is not OPENING:
            return
        slot.state, self.opening, self.size = GONE, self.opening - 1, self.size - 1
        self.open_failures += 1
        self.reconnecting.failed(error, now, transient=transient, jitter=jitter)
        if self.line and not self.reconnecting.riding_out:
            waiter, _ = self.line.popitem(last=False)
            waiter.error = error
            self.reconnecting.last_error = None
            self.to_wake.append(waiter)
            self._front_changed()
        self.settle(now)

    def suspect(self, slot: S, now: float) -> None:
        """Its holder says that this slot's connection may be dead: it is set aside and checked."""
        if slot.state is IN_USE:
            self._set_aside(slot, now)

    def suspect_idle(self, slot: S, now: float) -> None:
        """As ``suspect``, for one seen idle; if a borrower was quicker it is his."""
        if self._withdraw(slot):
            self._set_aside(slot, now)

    def _set_aside(self, slot: S, now: float) -> None:
        slot.state, self.opening = OPENING, self.opening + 1
        self.todo.append(Check(slot))
        self.settle(now)

    def checked(self, slot: S, now: float, *, alive: bool) -> None:
        """The check is done. A dead one frees its slot; one that lives serves the line, or lies idle as before."""
        if slot.state is not OPENING:
            return
        if alive:
            slot.checked_at = now
            self._arrived(slot, now)
        else:
            self.discard(slot, now, "dead")

    def _arrived(self, slot: S, now: float) -> None:
        if slot.generation != self.generation:
            self._retire(slot, "outdated")
        elif self.size > self.policy.max_size and not self.line:
            self._retire(slot, "resized")
        elif now >= slot.retire_at:
            self._retire(slot, slot.retire_why)
        elif self.line and not self.paused:
            if self.size > self.policy.max_size:
                slot.retire_at, slot.retire_why = -math.inf, "resized"
            self._hand_over(slot, now)
        else:
            slot.state, self.opening = IDLE, self.opening - 1
            self.idle.appendleft(slot)
        if self.draining and (outdated := self._outdated()) and self._withdraw(outdated[0]):
            self._retire(outdated[0], "drained")
        self.settle(now)

    # ---- upkeep and operations

    def upkeep(self, now: float) -> None:
        """Retire what is too old, shrink what is surplus, have checked what was quiet for long, refill, retry."""
        policy = self.policy
        self.condemn([slot for slot in self.idle.copy() if now >= slot.retire_at], now)
        if policy.max_idle is not None:
            surplus = max(0, self.size - policy.min_size)
            stale = [slot for slot in self.idle.copy() if now >= slot.idle_since + policy.max_idle]
            self.condemn(stale[:surplus], now, "max_idle")
        if policy.keepalive is not None:
            for slot in self.idle.copy():
                if now >= quiet_since(slot) + policy.keepalive:
                    self.suspect_idle(slot, now)
        self.settle(now)

    def leaks(self, now: float) -> list[S]:
        """Slots that have been out for longer than ``leak_after`` and not been told of yet; they count as told now."""
        patience = self.policy.leak_after
        if patience is None:
            return []
        leaks = [slot for slot in self._out_untold() if now >= slot.borrowed_at + patience]
        for slot in leaks:
            slot.leak_told = True
        return leaks

    def _out_untold(self) -> list[S]:
        return [slot for slot in self.slots if slot.state is IN_USE and not slot.leak_told]

    def next_due(self, now: float) -> float:
        """When ``upkeep`` next has something to do, at the earliest; infinity for never.

        What is out counts as if it came back now, so the answer holds until something is opened or fails.
        """
        policy = self.policy
        idle = self.idle.copy()
        due = [slot.retire_at for slot in self.slots if slot.state is IDLE or now < slot.retire_at]
        if self.size > policy.min_size and policy.max_idle is not None:
            due.append(min((slot.idle_since for slot in idle), default=now) + policy.max_idle)
        if self.size and policy.keepalive is not None:
            due.append(min(map(quiet_since, idle), default=now) + policy.keepalive)
        if policy.leak_after is not None:
            due.extend(slot.borrowed_at + policy.leak_after for slot in self._out_untold())
        if self.reconnecting.failures and not self.opening and self.wanted() > 0:
            due.append(max(self.reconnecting.retry_at, now))
        return min(due, default=math.inf)

    def condemn(self, slots: Iterable[S], now: float, why: str | None = None) -> None:
        """Retire these: the idle ones now, those that are out when they come back."""
        for slot in slots:
            slot.retire_why = why or slot.retire_why
            slot.retire_at = -math.inf
            if self._withdraw(slot):
                self._retire(slot, slot.retire_why)
        self.settle(now)

    def dispose(self, now: float, why: str = "disposed") -> None:
        """Retire everything there is, and rest until the next borrow."""
        self.started = False
        self.generation += 1
        self.condemn(list(self.slots), now, why)

    def resize(self, policy: PoolPolicy, now: float) -> None:
        """Go by these numbers from now on. What is too much is closed: idle ones now, then those out longest."""
        self.policy = policy
        surplus = max(0, self.size - policy.max_size)
        out = sorted((slot for slot in self.slots if slot.state is IN_USE), key=lambda slot: slot.borrowed_at)
        self.condemn([*self.idle.copy(), *out][:surplus], now, "resized")

    def drain(self, now: float) -> None:
        """Replace every connection: idle ones new before old, those that are out when they come back."""
        self.generation += 1
        self.draining = True
        self._front_changed()
        self.settle(now)

    def pause(self, now: float) -> None:
        """Nobody gets a connection until ``resume``; borrowers stand in line."""
        self.paused = True
        self._front_changed()
        self.settle(now)

    def resume(self, now: float) -> None:
        """Serve the line again. Whoever waits for the pause to be complete waits in vain, and is told."""
        self.paused = False
        if not self.closed:
            self.to_wake.extend(self.watchers)
            self.watchers.clear()
        self._front_changed()
        self.settle(now)

    def close(self, now: float) -> None:
        """Refuse newcomers and those in line, retire what is idle now and what is out when it comes back."""
        self.closed = True
        while self.line:
            waiter, _ = self.line.popitem(last=False)
            waiter.error = PoolClosedError("the pool was closed while this borrower waited for a connection")
            self.to_wake.append(waiter)
        self._front_changed()
        self.dispose(now, "closed")
