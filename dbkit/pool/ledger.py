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

Invariants, checked after every step by ``tests/pool/test_ledger.py``:

1. ``idle + in_use + opening == size`` and ``0 <= size <= max_size``, always.
2. A slot is in exactly one state (``State``) and known to exactly one holder: the idle list, its borrower, its waiter,
   or the job that opens or checks it. The ledger itself keeps only weak references to slots that are out.
3. No slot sits idle while a waiter who is due stands in line. If slots are idle while one who
   is not yet due stands in front, he has been called to come and look (``called``). No waiter stands in line while
   there is room to grow and nothing is being opened for him, unless the front was called and is about to look, or an
   outage's backoff says not yet.
4. A waiter gets exactly one outcome: a slot, an error, or he leaves. A slot that reaches him too late goes on.
5. Waiters are served in order. A newcomer may overtake only until the one in front is due: ``fair_after`` from when he
   came, for each turn of all connections that he had to wait for anyway (``TURNS`` at most).
6. Whatever frees room - a return, a failed connect, a detach, an invalidation, a retirement, a slot whose holder
   vanished - ends in ``settle``, which serves the line and grows.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Final, Generic
from weakref import WeakSet

from dbkit.errors import LineFullError, PoolClosedError
from dbkit.pool.parts import Check, Close, Open, S, Slot, State, W
from dbkit.pool.reconnecting import Reconnecting
from dbkit.pool.stats import Histogram, PoolStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dbkit.pool.policy import PoolPolicy

JITTER: Final = 0.1
"""The share of ``max_lifetime`` by which a connection may retire early, so that no herd retires at once."""

TURNS: Final = 10
"""How many times ``fair_after`` a waiter at the end of a long line may be overtaken; see docs/decisions/fairness.md."""

_OPENING, _IDLE, _IN_USE, _GONE = State.OPENING, State.IDLE, State.IN_USE, State.GONE


class Ledger(Generic[S, W]):
    """The books of one pool.

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
        self.slots: WeakSet[S] = WeakSet()
        self.to_wake: deque[W] = deque()
        """To be woken: they have an outcome, or are called to come and look."""
        self.todo: deque[Open[S] | Check[S] | Close[S]] = deque()
        self.generation = 0
        self.started = False
        """The minimum is kept from the first connection on; an unused pool opens nothing."""
        self.closed = False
        self.closers: list[W] = []
        """Those who wait for a closed pool to be empty."""
        self.reconnecting = Reconnecting(policy.reconnect_timeout)
        self.timeouts = 0
        self.refused = 0
        self.opens = 0
        self.open_failures = 0
        self.closes: Counter[str] = Counter()
        self.wait_time = Histogram()
        self.open_time = Histogram()
        self._use_time_of_gone = Histogram()

    # ---- a borrow

    def take(self, now: float) -> S | None:
        """A newcomer's try: the slot last given back, unless a waiter who is due comes first. Needs no lock."""
        if now < self.overtake_until and self.idle:
            try:
                slot = self.idle.pop()
            except IndexError:
                return None
            slot.state = _IN_USE
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

    def look(self, waiter: W, now: float) -> None:
        """A called waiter comes to look: what is idle is his, if he is still in front."""
        waiter.called = False
        if self.line and next(iter(self.line)) is waiter and (slot := self._pop_idle()) is not None:
            self._hand_over(slot, now)
        self.settle(now)

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
            True if ``sort_out`` must follow, under the lock: somebody waits, or the slot is to retire.
        """
        if slot.state is not _IN_USE:
            return False
        slot.use_time.add(now - slot.borrowed_at)
        slot.state = _IDLE
        slot.idle_since = now
        self.idle.append(slot)
        return bool(self.line) or now >= slot.retire_at

    def sort_out(self, slot: S, now: float) -> None:
        """After ``give_back``: the slot retires if it must, and the line is served."""
        if now >= slot.retire_at and self._withdraw(slot):
            self._retire(slot, slot.retire_why)
        self.settle(now)

    def discard(self, slot: S, now: float, why: str) -> None:
        """Its holder says that the slot's connection is gone or no good: detached, invalidated, vanished."""
        if slot.state is _GONE:
            return
        if slot.state is _OPENING:
            self.opening -= 1
        elif slot.state is _IN_USE:
            slot.use_time.add(now - slot.borrowed_at)
        self._retire(slot, why)
        self.settle(now)

    # ---- what jobs report

    def opened(self, slot: S, now: float, *, seconds: float, jitter: float) -> None:
        """The connection is there, after ``seconds``. ``jitter`` in [0, 1) shortens its life by up to ``JITTER``."""
        if slot.state is not _OPENING:
            return
        self.opens += 1
        self.open_time.add(seconds)
        self.started = True
        self.reconnecting.recovered()
        slot.idle_since = slot.checked_at = now
        self.renewed(slot, now, jitter=jitter)
        self._arrived(slot, now)

    def renewed(self, slot: S, now: float, *, jitter: float) -> None:
        """The slot has a new connection: its life begins."""
        lifetime = self.policy.max_lifetime
        slot.retire_at = math.inf if lifetime is None else now + lifetime * (1 - JITTER * jitter)
        slot.retire_why = "max_lifetime"

    def open_failed(self, slot: S, error: BaseException, now: float, *, transient: bool, jitter: float) -> None:
        """The connect failed. The front waiter gets the real error, unless the outage is one to ride out."""
        if slot.state is not _OPENING:
            return
        self.opening -= 1
        self.size -= 1
        slot.state = _GONE
        self.open_failures += 1
        self.reconnecting.failed(error, now, transient=transient, jitter=jitter)
        if self.line and not self.reconnecting.riding_out:
            waiter, _ = self.line.popitem(last=False)
            waiter.error = error
            self.to_wake.append(waiter)
            self._front_changed()
        self.settle(now)

    def suspect(self, slot: S, now: float) -> None:
        """This slot's connection may be dead: it is set aside and checked. Its holder says so, or it is idle."""
        if slot.state is not _IN_USE and not self._withdraw(slot):
            return
        slot.state = _OPENING
        self.opening += 1
        self.todo.append(Check(slot))
        self.settle(now)

    def checked(self, slot: S, now: float, *, alive: bool) -> None:
        """The check is done. A dead one frees its slot; one that lives serves the line, or lies idle as before."""
        if slot.state is not _OPENING:
            return
        if alive:
            slot.checked_at = now
            self._arrived(slot, now)
        else:
            self.discard(slot, now, "dead")

    def _arrived(self, slot: S, now: float) -> None:
        self.opening -= 1
        if slot.generation != self.generation or now >= slot.retire_at:
            self._retire(slot, slot.retire_why if slot.generation == self.generation else "disposed")
        elif self.line:
            self._hand_over(slot, now)
        else:
            slot.state = _IDLE
            self.idle.appendleft(slot)
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
                if now >= _quiet_since(slot) + policy.keepalive:
                    self.suspect(slot, now)
        self.settle(now)

    def next_due(self, now: float) -> float:
        """When ``upkeep`` next has something to do, at the earliest; infinity for never.

        What is out counts as if it came back now, so the answer holds until something is opened or fails.
        """
        policy = self.policy
        idle = self.idle.copy()
        due = [slot.retire_at for slot in self.slots if slot.state is _IDLE or now < slot.retire_at]
        if self.size > policy.min_size and policy.max_idle is not None:
            due.append(min((slot.idle_since for slot in idle), default=now) + policy.max_idle)
        if self.size and policy.keepalive is not None:
            due.append(min(map(_quiet_since, idle), default=now) + policy.keepalive)
        if self.reconnecting.failures and not self.opening and self._wanted() > 0:
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

    def close(self, now: float) -> None:
        """Refuse newcomers and those in line, retire what is idle now and what is out when it comes back."""
        self.closed = True
        while self.line:
            waiter, _ = self.line.popitem(last=False)
            waiter.error = PoolClosedError("the pool was closed while this borrower waited for a connection")
            self.to_wake.append(waiter)
        self._front_changed()
        self.dispose(now, "closed")

    def stats(self) -> PoolStats:
        """One consistent snapshot."""
        idle = len(self.idle)
        in_use = self.size - idle - self.opening
        use_time = self._use_time_of_gone.copy()
        for slot in self.slots:
            if slot.state is not _GONE:
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

        1. the pool is closed: when nothing is out any more, whoever waits for that is told, and that is all;
        2. a slot is idle and the front waiter is due: it is handed to him, as long as both last;
        3. a slot is idle and the front waiter is not due yet: he is called to come and look, once;
        4. somebody stands in line with nothing on its way for him, or the minimum is not there: grow.
        """
        if self.closed:
            if self.size == 0 and self.closers:
                self.to_wake.extend(self.closers)
                self.closers.clear()
            return
        while self.idle and self.line:
            if now < self.overtake_until:
                front = next(iter(self.line))
                if not front.called:
                    front.called = True
                    self.to_wake.append(front)
                break
            if (slot := self._pop_idle()) is not None:
                self._hand_over(slot, now)
        wanted = self._wanted()
        if wanted > 0:
            for _ in range(
                self.reconnecting.allowed(wanted, now, opening=self.opening, somebody_waits=bool(self.line))
            ):
                self._grow(now)

    def _wanted(self) -> int:
        """How many more connections the line and the minimum ask for, within the maximum."""
        if self.closed:
            return 0
        missing = len(self.line) - len(self.idle) - self.opening
        if self.started:
            missing = max(missing, self.policy.min_size - self.size)
        return min(missing, self.policy.max_size - self.size)

    def _grow(self, now: float) -> None:
        slot = self._new_slot()
        slot.generation = self.generation
        slot.idle_since = slot.checked_at = slot.borrowed_at = now
        self.renewed(slot, now, jitter=0.0)
        slot.state = _OPENING
        self.opening += 1
        self.size += 1
        self.slots.add(slot)
        self.todo.append(Open(slot))

    def _hand_over(self, slot: S, now: float) -> None:
        waiter, _ = self.line.popitem(last=False)
        slot.state = _IN_USE
        slot.borrowed_at = now
        waiter.slot = slot
        self.wait_time.add(now - waiter.since)
        self.to_wake.append(waiter)
        self._front_changed()

    def _front_changed(self) -> None:
        if self.line:
            self.overtake_until = next(iter(self.line)).due_at
        else:
            self.overtake_until = math.inf

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
        slot.state = _GONE
        self.size -= 1
        self.closes[why] += 1
        self._use_time_of_gone.merge(slot.use_time)
        self.todo.append(Close(slot, why))


def _quiet_since(slot: Slot) -> float:
    """When the connection last said something: given back, or answered a ping."""
    return max(slot.idle_since, slot.checked_at)
