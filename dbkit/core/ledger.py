"""The ledger: who has which slot, who stands in line, and every transition between them.

It has no lock, no clock (``now`` is an argument, in seconds of any monotonic clock), no I/O, no logging, and knows
nothing of SQLAlchemy or of threads. It decides; the work that follows it writes into ``to_wake`` and ``todo``, for its
driver to carry out after releasing the lock. It stays there until somebody takes it, so a driver interrupted between
deciding and doing loses nothing: the next one through does it.

Every call is made under the driver's one lock, but for two: ``take`` and ``give_back`` need none. Each moves a slot by
a single ``pop`` or ``append`` of a deque, which is atomic, and owns the slot alone before or after it; what changed
meanwhile it sees *after* that move, since those under the lock write *before* they look at ``idle``. So of two that
meet, at least one sees the other:

- a returning slot is idle first, then looks whether the pool is quiet (``quiet_until``); a waiter is in line first,
  then looks for idle slots;
- a newcomer takes a slot first, then looks whether it may keep it; ``pause`` and the end of a generation are written
  first, then look at what is idle and what is in use.

A return that finds the pool not quiet is sorted out under the lock, by a fresh clock.

Invariants, checked after every step by ``tests/core/test_ledger_machine.py``:

1. ``idle + in_use + opening == size``, and ``0 <= size <= max_size``, always; after ``resize`` the size only falls
   until it fits.
2. A slot is in exactly one state (``State``) and known to exactly one holder: the idle list, its borrower, its waiter,
   or the job that opens or checks it. The ledger itself keeps only weak references to slots that are out.
3. No slot sits idle while a waiter that is due stands in line. If slots are idle while one that is not yet due stands
   in front, it has been called and is about to look (``called``). No waiter stands in line while there is room to
   grow and nothing is being opened for it, unless the front is about to look, or an outage's backoff says not yet.
4. A waiter gets exactly one outcome: a slot, an error, or it leaves. A slot that reaches it too late goes on. A waiter
   with an outcome is in ``to_wake``.
5. Waiters are served in order. A newcomer may overtake only while newcomers run tight loops, and only until the one in
   front is due: ``fair_after`` from when it came, for each turn of all connections that it had to wait for anyway
   (``TURNS`` at most).
6. Everything that frees room - a return, a failed attempt, a detach, an invalidation, a retirement, a slot whose holder
   vanished - ends in ``settle``, which serves the line and grows.
7. A slot that is lent belongs to a generation that has not ended, and knows its holder.
"""

from __future__ import annotations

import math
from operator import attrgetter

from dbkit.core.matching import GONE, IDLE, IN_USE, OPENING
from dbkit.core.operations import Operations
from dbkit.core.reasons import CloseReason
from dbkit.core.types import BREATH, OVERTAKING, TIGHT, TURNS, Refusal, Refused, S, W, Watch

_since = attrgetter("since")


class Ledger(Operations[S, W]):
    """Every transition between the states of one pool's slots and waiters: a borrow, a return, what jobs report."""

    # ---- a borrow

    def take(self, now: float, holder: object) -> S | None:
        """A newcomer's try: the slot last given back, unless a waiter that is due comes first. Needs no lock."""
        if now < self.overtake_until and self.idle:
            try:
                slot = self.idle.pop()
            except IndexError:
                return None
            if slot.generation >= self.oldest and now < self.overtake_until:
                slot.state = IN_USE
                slot.holder = holder
                slot.borrowed_at = now
                return slot
            self.idle.append(slot)  # paused, or at the end of its generation, in this very moment
        return None

    def join(self, waiter: W, now: float, *, first: bool = False) -> None:
        """Stand in line; ``first`` for one whose slot turned out dead when it was its turn already.

        Raises:
            Refused: the pool is closed, or ``max_waiting`` borrowers stand in line with nothing on its way for them.
        """
        if self.closed:
            self._close_idle(self.idle.copy(), CloseReason.CLOSED)  # if ``take`` put one back in the midst of ``close``
            self.settle(now)
            raise Refused(Refusal.CLOSED, "the pool is closed for good, nothing can be borrowed from it any more")
        if first:
            waiter.due_at = now
            self.line[waiter] = None
            self.line.move_to_end(waiter, last=False)
        else:
            if self.policy.max_waiting is not None:
                self._refuse_if_line_is_longer_than(self.policy.max_waiting)
            if waiter.holder == self._handed_from and now - self._handed_at < TIGHT:
                self._overtaking_until = now + OVERTAKING
            turns = min(1 + len(self.line) // self.policy.max_size, TURNS)
            waiter.due_at = waiter.since + self.policy.fair_after * turns
            self.line[waiter] = None
            if len(self.line) > 1 and not self.idle and self.size >= self.policy.max_size:
                return  # at the end of a line that stands already, and there is nothing to be had
        self.settle(now)

    def _refuse_if_line_is_longer_than(self, most: int) -> None:
        on_the_way = self.opening + len(self.idle) + max(0, self.policy.max_size - self.size)
        if len(self.line) - on_the_way >= most:
            self.totals.refused += 1
            raise Refused(
                Refusal.LINE_FULL,
                f"{len(self.line)} borrowers already wait for one of {self.policy.max_size} connections, "
                f"and max_waiting is {most}: refused at once",
            )

    def look(self, waiter: W, now: float) -> float:
        """A waiter comes to look: an idle slot is for it, if it is still in front.

        Returns:
            Seconds until it is to look again by itself. One in front that was called and finds nothing was overtaken,
            and would be with the next return, too: it takes a breath, and is not called meanwhile. Once it is due the
            next return is handed to it, and it need not look.
        """
        if self.paused or not self.line or next(iter(self.line)) is not waiter:
            waiter.called = False
            self.settle(now)
            return math.inf
        if (slot := self._next_idle()) is not None:
            self._hand_over(slot, now)
        elif waiter.called:
            self._overtaking_until = now + OVERTAKING
            waiter.called = now < waiter.due_at
        self.settle(now)
        return BREATH if waiter.called else math.inf

    def leave(self, waiter: W, now: float) -> bool:
        """A waiter gives up. True if it left empty-handed, False if its outcome was there already."""
        if waiter not in self.line:
            return False
        del self.line[waiter]
        self.totals.waited_in_vain += now - waiter.since
        self.settle(now)
        return True

    def time_out(self, waiter: W, now: float) -> None:
        """A waiter's time is up. It leaves, unless its outcome came at the last moment; then it has that."""
        self.look(waiter, now)
        if self.leave(waiter, now):
            self.totals.timeouts += 1

    def abandon(self, waiter: W, now: float, slot: S | None) -> None:
        """A waiter vanishes, by Ctrl-C say: it leaves the line, and the slot that it was handed goes to the next."""
        if not self.leave(waiter, now) and slot is not None and self.give_back(slot, now):
            self.sort_out(slot, now)

    def waited(self, now: float) -> float:
        """Seconds that all borrowers together have waited so far, those that stand in line now included."""
        done = self.totals.wait_time.total + self.totals.waited_in_vain
        return done + sum(map(now.__sub__, map(_since, self.line)))

    # ---- a return

    def give_back(self, slot: S, now: float) -> bool:
        """The borrower is done; a slot that is not in use is left alone. Needs no lock.

        Returns:
            True if ``sort_out`` must follow, under the lock: the return concerns somebody, or the slot must go.
        """
        if slot.state is not IN_USE:
            return False
        slot.use_time.add(now - slot.borrowed_at)
        slot.state = IDLE
        slot.idle_since = now
        self.idle.append(slot)
        return now >= self.quiet_until or slot.generation != self.generation or now >= slot.retire_at

    def sort_out(self, slot: S, now: float) -> None:
        """After ``give_back``: the slot is closed if it must go, and the line is served."""
        reason = self._reason_to_go(slot, now)
        if reason is None:
            self._serve(now)
            return
        if self._withdraw(slot):
            self._retire(slot, reason)
        self.settle(now)

    def discard(self, slot: S, now: float, reason: CloseReason) -> None:
        """Its holder says that the slot's connection is gone or no good: detached, invalidated, vanished."""
        if slot.state is GONE:
            return
        if slot.state is IN_USE:
            slot.use_time.add(now - slot.borrowed_at)
        elif slot.state is IDLE:
            self._withdraw(slot)
        self._retire(slot, reason)
        self.settle(now)

    def recount(self, now: float) -> int:
        """Put the counts right after slots vanished and nothing but their absence tells. Returns how many."""
        states = [slot.state for slot in self.slots]
        vanished = self.size - len(states) + states.count(GONE)
        if vanished:
            self.totals.closes[CloseReason.VANISHED] += vanished
            self.size, self.opening = self.size - vanished, states.count(OPENING)
            self.settle(now)
        return vanished

    # ---- what jobs report

    def opened(self, slot: S, now: float, *, seconds: float, jitter: float) -> None:
        """The connection is there, after ``seconds``. ``jitter`` in [0, 1) shortens its life by up to ``JITTER``."""
        if slot.state is not OPENING:
            return
        self.totals.opens += 1
        self.totals.open_time.add(seconds)
        self.reconnecting.recovered()
        slot.idle_since = slot.checked_at = now
        self.begin_life(slot, now, jitter=jitter)
        if slot.generation == self.generation:
            self.started = True
            self._opened_generation = slot.generation
            self._arrived(slot, now)
        else:
            self._retire(slot, CloseReason.OUTDATED if slot.generation >= self.oldest else self.ended_by)
            self.settle(now)

    def open_failed(
        self, slot: S, error: BaseException, now: float, *, began: float, refused: bool, jitter: float
    ) -> bool:
        """The connection attempt failed. The front waiter gets the real error, unless the outage is ridden out.

        Returns:
            Whether somebody gets the error.
        """
        if slot.state is not OPENING:
            return False
        slot.state, self.opening, self.size = GONE, self.opening - 1, self.size - 1
        self.totals.open_failures += 1
        self.reconnecting.failed(error, now, began=began, refused=refused, jitter=jitter)
        told = not self.reconnecting.riding_out and self._tell_of_failure(error, now)
        self.settle(now)
        return told

    def _tell_of_failure(self, error: BaseException, now: float) -> bool:
        told = [watcher for watcher, watch in self.watchers if watch is Watch.WARM]
        self.watchers = [(watcher, watch) for watcher, watch in self.watchers if watch is not Watch.WARM]
        if self.line:
            front = self.line.popitem(last=False)[0]
            self.totals.waited_in_vain += now - front.since
            told.append(front)
        for waiter in told:
            waiter.error = error
            self.to_wake.append(waiter)
        if told:
            self.reconnecting.last_error = None
        return bool(told)

    def reopening(self) -> int:
        """A slot that is out is about to be connected again, by its holder. Returns the generation it will be of.

        Raises:
            Refused: the pool is closed.
        """
        if self.closed:
            raise Refused(Refusal.CLOSED, "the pool is closed for good, so this connection is not opened again")
        return self.generation

    def reopened(self, slot: S, generation: int, now: float, *, seconds: float, jitter: float) -> None:
        """The holder of a slot has connected it again, in place of a connection that was invalidated.

        Args:
            slot: the slot.
            generation: as ``reopening`` said, before the attempt began.
            now: the moment.
            seconds: how long the attempt took.
            jitter: as for ``opened``.

        Raises:
            Refused: the pool was closed meanwhile.
        """
        self.reopening()
        self.totals.closes[CloseReason.INVALIDATED] += 1
        self.totals.opens += 1
        self.totals.open_time.add(seconds)
        self.reconnecting.recovered()
        slot.generation = generation
        self._opened_generation = max(self._opened_generation, generation)
        self.draining = self.draining or self.oldest <= generation < self.generation
        slot.checked_at = now
        self.begin_life(slot, now, jitter=jitter)
        self.settle(now)

    def checked(self, slot: S, now: float, *, alive: bool) -> None:
        """The check is done. A dead one frees its slot; one that lives serves the line, or lies idle as before."""
        if slot.state is not OPENING:
            return
        if alive:
            slot.checked_at = now
            self._arrived(slot, now)
        else:
            self.discard(slot, now, CloseReason.DEAD)

    def _arrived(self, slot: S, now: float) -> None:
        reason = self._reason_to_go(slot, now)
        if reason is not None:
            self._retire(slot, reason)
        elif self.line and not self.paused:
            self._hand_over(slot, now)
        else:
            slot.state, self.opening = IDLE, self.opening - 1
            self.idle.appendleft(slot)
        if self.draining and (outdated := self._outdated()) and self.can_spare_old() and self._withdraw(outdated[0]):
            self._retire(outdated[0], CloseReason.DRAINED)
        self.settle(now)
