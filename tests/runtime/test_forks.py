"""What a fork waits for, and what starts afresh in the child."""

from __future__ import annotations

import _thread
import contextlib
import gc
import itertools
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dbkit.runtime import forks
from dbkit.runtime.forks import connecting, in_child, start_afresh
from dbkit.runtime.threads import ThreadRuntime

from .helpers import PATIENCE, eventually, in_a_fork, strike_at_line

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what other tests registered, and their attempts."""
    monkeypatch.setattr(forks, "_of_modules", [])
    monkeypatch.setattr(forks, "_of_objects", weakref.WeakKeyDictionary())
    monkeypatch.setattr(forks, "_gate", forks._Gate())


class Thing:
    """Something that starts afresh."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def renew(self) -> None:
        self.log.append(self.name)


class FakeLock:
    """The lock of another thread's attempt or fork; notes who waits for it."""

    def __init__(self, log: list[str], then: Callable[[], object]) -> None:
        self.log = log
        self.then = then

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        assert blocking
        assert 0 < timeout <= 2 * forks.PATIENCE
        self.log.append("waited")
        self.then()
        return True

    def release(self) -> None:
        pass


# ---- the registry


def test_in_a_child_modules_start_afresh_first_and_then_objects_in_their_order():
    log: list[str] = []
    pool, loans = Thing("pool", log), Thing("loans", log)
    start_afresh(pool, Thing.renew)
    start_afresh(loans, Thing.renew)
    in_child(lambda: log.append("clock"))
    assert in_a_fork(lambda: " ".join(log)) == "clock pool loans"
    assert not log


def test_a_callback_that_fails_is_logged_and_stops_no_other(caplog: pytest.LogCaptureFixture):
    log: list[str] = []
    first, second = Thing("first", log), Thing("second", log)

    def fail(_: object = None) -> None:
        raise KeyboardInterrupt

    in_child(fail)
    start_afresh(first, fail)
    start_afresh(second, Thing.renew)
    said = in_a_fork(lambda: f"{log} {len(caplog.records)}")
    assert said == "['second'] 2"


def test_an_object_that_is_gone_does_not_start_afresh():
    log: list[str] = []
    thing = Thing("gone", log)
    start_afresh(thing, Thing.renew)
    alive = weakref.ref(thing)
    del thing
    gc.collect()
    assert alive() is None
    assert in_a_fork(lambda: f"{log}") == "[]"


# ---- the gate


def test_a_connection_attempt_does_not_begin_while_a_fork_is_made():
    log: list[str] = []
    gate = forks._gate
    gate.forks[1] = FakeLock(log, gate.forks.clear)  # type: ignore[assignment]
    with connecting():
        log.append("connected")
    assert log == ["waited", "connected"]


def test_a_connection_attempt_begins_at_once_when_the_fork_is_made(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forks, "PATIENCE", 20 * PATIENCE)
    connected = threading.Event()

    def attempt() -> None:
        with connecting():
            connected.set()

    thread = threading.Thread(target=attempt)
    forks._before_fork()
    try:
        thread.start()
    finally:
        forks._after_fork_in_parent()
    assert connected.wait(PATIENCE)
    thread.join(PATIENCE)


def test_a_connection_attempt_waits_for_a_fork_of_another_thread_only_so_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forks, "PATIENCE", 0.02)
    never = _thread.allocate_lock()
    never.acquire()
    forks._gate.forks[1] = never
    with connecting():
        pass
    assert not forks._gate.forks


def test_a_fork_waits_for_the_attempts_of_other_threads():
    log: list[str] = []
    gate = forks._gate
    lock = FakeLock(log, lambda: log.append("forks announced" if gate.forks else "not announced"))
    gate.attempts[lock] = 1  # type: ignore[index]
    forks._before_fork()
    forks._after_fork_in_parent()
    assert log == ["waited", "forks announced"]
    assert not gate.forks


def test_a_child_is_made_when_the_attempt_of_another_thread_is_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forks, "PATIENCE", 20 * PATIENCE)
    begun, log, gate = threading.Event(), list[str](), forks._gate

    def attempt() -> None:
        with connecting():
            begun.set()
            eventually(lambda: gate.forks)
            log.append("connected")

    thread = threading.Thread(target=attempt)
    thread.start()
    assert begun.wait(PATIENCE)
    assert in_a_fork(lambda: " ".join(log)) == "connected"
    thread.join(PATIENCE)


def test_a_fork_waits_for_an_attempt_that_hangs_only_so_long_and_only_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forks, "PATIENCE", 0.02)
    begun, over = threading.Event(), threading.Event()

    def attempt() -> None:
        with connecting():
            begun.set()
            over.wait(PATIENCE)

    thread = threading.Thread(target=attempt)
    thread.start()
    assert begun.wait(PATIENCE)
    assert in_a_fork(lambda: "made") == "made"
    assert not forks._gate.attempts
    over.set()
    thread.join(PATIENCE)


def test_a_thread_that_forks_in_the_midst_of_its_attempt_does_not_wait_for_itself(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forks, "PATIENCE", 20 * PATIENCE)

    def connect_in_the_child() -> str:
        with connecting():
            return "connected"

    began = time.monotonic()
    with connecting():
        assert in_a_fork(connect_in_the_child) == "connected"
    assert time.monotonic() - began < PATIENCE


def test_a_child_neither_waits_for_the_fork_it_came_from_nor_for_the_parents_attempts():
    with connecting():
        said = in_a_fork(lambda: f"{len(forks._gate.attempts)} attempts, {len(forks._gate.forks)} forks")
    assert said == "0 attempts, 0 forks"
    assert not forks._gate.forks


def test_an_exception_from_outside_at_any_line_holds_up_no_later_fork_or_attempt(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forks, "PATIENCE", 20 * PATIENCE)
    deadline = time.monotonic() + PATIENCE

    def attempt() -> None:
        with connecting():
            pass

    for line in itertools.count(1):
        struck = strike_at_line(line, attempt, forks.__file__, contextlib.__file__)
        thread = threading.Thread(target=forks._before_fork)
        thread.start()
        thread.join(PATIENCE)
        forks._gate.forks.clear()
        attempt()
        assert time.monotonic() < deadline, f"struck at line event {line}"
        if not struck:
            break
    assert line > 10


# ---- threads that end


def test_a_fork_waits_until_threads_that_end_are_gone(monkeypatch: pytest.MonkeyPatch):
    looks = {1: iter([True, True, False]), 2: iter([False])}
    seen: list[int] = []

    def is_there(number: int) -> bool:
        seen.append(number)
        return next(looks[number])

    monkeypatch.setattr(forks, "_is_there", is_there)
    monkeypatch.setattr(forks, "PATIENCE", 20 * PATIENCE)
    forks._gate.ending.extend(looks)
    forks._before_fork()
    forks._after_fork_in_parent()
    assert seen == [1, 1, 1, 2]
    assert not forks._gate.ending


def test_a_fork_waits_for_them_only_so_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forks, "_is_there", lambda _: True)
    monkeypatch.setattr(forks, "PATIENCE", 0.02)
    forks._gate.ending.extend([1, 2])
    forks._before_fork()
    forks._after_fork_in_parent()
    assert not forks._gate.ending


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the system does not tell of threads")
@pytest.mark.parametrize("fails", [False, True])
def test_the_thread_of_a_job_says_that_it_ends(fails: bool):
    numbers: list[int] = []

    def job() -> None:
        numbers.append(threading.get_native_id())
        assert not forks._gate.ending
        assert forks._is_there(numbers[0])
        if fails:
            raise SystemExit

    assert ThreadRuntime().spawn(job, None)
    eventually(lambda: list(forks._gate.ending) == numbers != [])
    eventually(lambda: not forks._is_there(numbers[0]))
