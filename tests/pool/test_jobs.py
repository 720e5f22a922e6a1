"""Jobs: in whose context they run, and that nobody does another's when no thread is to be had."""

from __future__ import annotations

import gc
import time
from collections import deque
from contextvars import ContextVar
from typing import Any

import pytest

from dbkit.core import borrowing
from dbkit.core.ledger import Ledger
from dbkit.events import Closed, Observer, Opened
from dbkit.pool.driver import _wake_next
from dbkit.pool.errors import PoolTimeoutError

from .every_line import Double
from .helpers import QUIET, at_rest, eventually, in_line, locked, pool_on, slot_of
from .runtimes import PATIENCE, Flag, Task, expect_complaints, on_both, pool_class

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@on_both
def test_a_creator_sees_the_context_variables_of_the_borrower_it_connects_for():
    seen: list[str] = []

    def connect() -> Double:
        seen.append(tenant.get())
        return Double()

    pool = pool_on(connect, **QUIET | {"max_size": 4})
    held: list[Any] = []

    def borrow(name: str) -> None:
        tenant.set(name)
        held.append(pool.connect())

    for name in ("ada", "grace"):
        Task(borrow, name).outcome()
    assert seen == ["ada", "grace"]
    for connection in held:
        connection.close()


class NoThreads:
    """While it is on, no thread or task is to be had for a job."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on = True
        runtime = pool_class()._runtime_class
        original = runtime.spawn
        monkeypatch.setattr(runtime, "spawn", lambda self_, job, context: not self.on and original(self_, job, context))


@on_both
def test_without_a_thread_the_waiter_is_told_at_its_deadline_and_nobody_connects(monkeypatch: pytest.MonkeyPatch):
    opened: list[int] = []
    threads = NoThreads(monkeypatch)
    pool = pool_on(lambda: opened.append(1) or Double(), **QUIET)
    began = time.monotonic()
    with pytest.raises(PoolTimeoutError):
        pool.borrow(0.3)
    assert time.monotonic() - began < PATIENCE / 2
    assert not opened
    threads.on = False


@on_both
def test_a_job_that_found_no_thread_is_done_when_there_is_one_again(monkeypatch: pytest.MonkeyPatch):
    threads = NoThreads(monkeypatch)
    pool = pool_on(Double, **QUIET)
    waiting = Task(pool.borrow, PATIENCE)
    in_line(pool, 1)
    threads.on = False
    waiting.outcome().close()
    at_rest(pool, idle=1)


@on_both
def test_a_return_does_not_connect_for_another(monkeypatch: pytest.MonkeyPatch):
    connecting: list[int] = []

    def connect() -> Double:
        connecting.append(pool._runtime.who())
        return Double()

    pool = pool_on(connect, **QUIET | {"max_size": 1})
    held = pool.connect()
    waiting = Task(pool.borrow, PATIENCE)
    in_line(pool, 1)
    threads = NoThreads(monkeypatch)
    held.invalidate()  # the next in line needs a new connection
    assert pool._runtime.who() not in connecting
    threads.on = False
    waiting.outcome().close()


@on_both
@pytest.mark.parametrize("moment", ["before it is asked", "before it is noted"])
def test_upkeep_survives_an_exception_where_the_clock_is_asked(monkeypatch: pytest.MonkeyPatch, moment: str):
    pool = pool_on(Double, **QUIET | {"max_idle": 0.05})
    kind = pool_class()._runtime_class
    original, struck = kind.call_at, []

    def strike(runtime: Any, when: float, ring: Any) -> None:
        strikes = not struck
        struck.append(when)
        if strikes and moment == "before it is asked":
            raise MemoryError
        original(runtime, when, ring)
        if strikes:
            raise MemoryError

    monkeypatch.setattr(kind, "call_at", strike)
    expect_complaints()
    first = pool.connect()
    eventually(lambda: struck)  # by the job that opened the connection
    second = pool.connect()
    first.close()
    second.close()
    eventually(lambda: pool.stats().closes.get("max_idle") == 2)


@on_both
@pytest.mark.parametrize("error", [MemoryError, RuntimeError])
def test_upkeep_survives_one_that_failed(monkeypatch: pytest.MonkeyPatch, error: type[Exception]):
    pool = pool_on(Double, **QUIET | {"max_idle": 0.05})
    original, struck = Ledger.upkeep, []

    def fail_once(ledger: Ledger[Any, Any], now: float) -> None:
        if not struck:
            struck.append(now)
            raise error
        original(ledger, now)

    monkeypatch.setattr(Ledger, "upkeep", fail_once)
    expect_complaints()
    pool.connect().close()
    eventually(lambda: pool.stats().closes.get("max_idle"))
    assert struck


class Balance(Observer):
    """Counts what was opened and closed."""

    def __init__(self) -> None:
        self.opened_count = 0
        self.reasons: list[str] = []

    def opened(self, fact: Opened) -> None:
        self.opened_count += 1

    def closed(self, fact: Closed) -> None:
        self.reasons.append(fact.why)


@on_both
def test_a_slot_found_by_its_death_is_told_as_closed():
    balance = Balance()
    pool = pool_on(Double, **QUIET, observer=balance)
    pool.connect().close()
    with locked(pool) as ledger:
        slot = ledger.idle.pop()
        slot.state = type(slot.state).GONE  # so that its finalizer says nothing
        ledger.slots.discard(slot)
        del slot
    assert balance.reasons == ["vanished"]
    assert pool.stats().size == 0


def test_the_holder_is_the_waiter_as_soon_as_the_connection_was_handed_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(borrowing, "NAP", float("inf"))
    pool = pool_on(Double, **QUIET | {"max_size": 1})
    held = pool.connect()
    asleep = Flag()
    wake = Flag()
    waiting = Task(lambda: asleep.set() or (pool.connect(), wake.wait(PATIENCE)))
    assert asleep.wait(PATIENCE)
    in_line(pool, 1)
    with locked(pool) as ledger:
        ledger.give_back(slot_of(held), time.monotonic())
        ledger.sort_out(slot_of(held), time.monotonic())
        [holder] = {slot.borrow.thread_id for slot in ledger.slots}
        assert holder == waiting.ident
    wake.set()
    waiting.outcome()


@on_both
def test_nobody_holds_a_connection_during_warm_up():
    gate = Flag()
    pool = pool_on(lambda: gate.wait(PATIENCE) and Double(), **QUIET | {"min_size": 2, "max_size": 2})
    warming = Task(pool.warm_up, PATIENCE)
    at_rest(pool, opening=2)
    assert pool.holders() == ()
    assert pool.stats().waiting == 0
    gate.set()
    warming.outcome()
    assert pool.stats().borrows == 0


def test_a_wake_up_that_was_struck_is_done_again():
    class Struck:
        woken = 0

        def wake(self) -> None:
            self.woken += 1
            if self.woken == 1:
                raise KeyboardInterrupt

    waiter: Any = Struck()
    with pytest.raises(KeyboardInterrupt):
        _wake_next(deque([waiter]))
    assert waiter.woken == 2


@on_both
def test_a_connection_that_closes_slowly_holds_up_nobody():
    gate = Flag()

    class Slow(Double):
        def close(self) -> None:
            assert gate.wait(60)
            super().close()

    pool = pool_on(Slow, **QUIET)
    connection = pool.connect()
    pool.drain()
    task = Task(connection.close)
    try:
        task.outcome(20)
    finally:
        gate.set()


@on_both
def test_what_is_remembered_of_slots_does_not_grow():
    pool = pool_on(Double, **QUIET)
    for _ in range(50):
        pool.connect().invalidate()
    gc.collect()
    eventually(lambda: pool.stats().size == 0 and len(pool._births) < 10)  # nothing else tells
