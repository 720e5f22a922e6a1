"""One clock for all: it rings in time, keeps every alarm whatever strikes it, and ends when nothing is left."""

from __future__ import annotations

import _thread
import gc
import itertools
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from dbkit.runtime import background
from dbkit.runtime.background import Clock
from dbkit.runtime.bell import Bell

from .helpers import PATIENCE, eventually, strike_at_line

if TYPE_CHECKING:
    from collections.abc import Callable


def ended(clock: Clock) -> bool:
    return clock._sleeper() is None


def rings_at_once(clock: Clock) -> bool:
    rung = threading.Event()
    clock.at(time.monotonic(), rung.set)
    return rung.wait(PATIENCE)


def no_thread(error: type[Exception]) -> Callable[..., NoReturn]:
    def start_new_thread(*_: object) -> NoReturn:
        raise error("no thread can be had")

    return start_new_thread


def test_alarms_ring_in_the_order_of_their_times():
    clock, rung, done = Clock(), list[str](), threading.Event()
    now = time.monotonic()
    clock.at(now + 0.2, done.set)
    clock.at(now + 0.1, lambda: rung.append("second"))
    clock.at(now + 0.05, lambda: rung.append("first"))
    assert done.wait(PATIENCE)
    assert time.monotonic() >= now + 0.2
    assert rung == ["first", "second"]


def test_an_earlier_alarm_wakes_a_clock_that_sleeps_until_a_later_one(monkeypatch: pytest.MonkeyPatch):
    asleep = threading.Event()

    class Telling(Bell):
        def wait(self, seconds: float) -> None:
            asleep.set()
            super().wait(seconds)

    monkeypatch.setattr(background, "Bell", Telling)
    clock = Clock()
    clock.at(time.monotonic() + 3600, lambda: None)
    assert asleep.wait(PATIENCE)
    assert rings_at_once(clock)


def test_a_clock_without_alarms_has_no_thread_and_starts_one_for_the_next():
    clock = Clock()
    for _ in range(3):
        assert rings_at_once(clock)
        eventually(lambda: ended(clock))


def test_two_hundred_pools_share_one_thread_that_ends_with_the_last_alarm():
    clock, threads, all_set = Clock(), list[int](), threading.Barrier(20)
    soon = time.monotonic() + 0.2

    def keep() -> None:
        """Set the next alarm from the last: the clock has one until all others rang."""
        if len(threads) < 200:
            clock.at(time.monotonic() + 0.01, keep)

    keep()

    def ten_pools() -> None:
        all_set.wait(PATIENCE)
        for _ in range(10):
            clock.at(soon, lambda: threads.append(threading.get_ident()))

    users = [threading.Thread(target=ten_pools) for _ in range(20)]
    for user in users:
        user.start()
    for user in users:
        user.join(PATIENCE)
    eventually(lambda: len(threads) == 200)
    assert len(set(threads)) == 1
    eventually(lambda: ended(clock))


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_a_clock_that_got_no_thread_keeps_the_alarm_and_the_next_one_tries_again(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
):
    clock, first = Clock(), threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(_thread, "start_new_thread", no_thread(error))
        patched.setattr(background, "start_new_thread", no_thread(error), raising=False)
        clock.at(time.monotonic(), first.set)
    assert not first.is_set()
    assert rings_at_once(clock)
    assert first.wait(PATIENCE)


def test_running_out_of_memory_on_the_clocks_thread_does_not_end_it(monkeypatch: pytest.MonkeyPatch):
    clock, calls, rung = Clock(), itertools.count(), threading.Event()

    def monotonic() -> float:
        if next(calls) < 2:
            raise MemoryError
        return time.monotonic()

    monkeypatch.setattr(background, "RECOVERY", 0.01, raising=False)
    monkeypatch.setattr(background, "monotonic", monotonic)
    clock.at(time.monotonic(), rung.set)
    assert rung.wait(PATIENCE)


def test_an_alarm_that_ran_out_of_memory_rings_again(monkeypatch: pytest.MonkeyPatch):
    clock, calls, rung = Clock(), itertools.count(), threading.Event()

    def ring() -> None:
        if next(calls) < 2:
            raise MemoryError
        rung.set()

    monkeypatch.setattr(background, "RECOVERY", 0.01, raising=False)
    clock.at(time.monotonic(), ring)
    assert rung.wait(PATIENCE)


def test_an_alarm_that_fails_is_logged_and_the_others_ring(caplog: pytest.LogCaptureFixture):
    clock, rung = Clock(), threading.Event()
    now = time.monotonic()
    clock.at(now, lambda: {}["upkeep failed"])
    clock.at(now + 0.001, rung.set)
    assert rung.wait(PATIENCE)
    assert "upkeep failed" in caplog.text


def test_a_clock_whose_thread_is_told_to_end_goes_on_in_another():
    clock, rung = Clock(), threading.Event()
    now = time.monotonic()
    clock.at(now + 0.05, rung.set)
    clock.at(now, _thread.exit)
    assert rung.wait(PATIENCE)


def test_an_exception_from_outside_at_any_line_does_not_end_the_clock():
    for line in itertools.count(1):
        clock, rung = Clock(), threading.Event()
        struck = strike_at_line(line, lambda: clock.at(time.monotonic(), rung.set), background.__file__)  # noqa: B023
        assert rings_at_once(clock), f"struck at line event {line}"
        if not struck:
            break
    assert line > 5
    assert rung.wait(PATIENCE)


def test_finalizers_may_put_alarms_while_one_is_being_put():
    clock, rung, wanted = Clock(), list[int](), 300

    class Leaked:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            clock.at(time.monotonic(), lambda: rung.append(1))

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(wanted):
            Leaked()
            clock.at(time.monotonic(), lambda: rung.append(0))
    finally:
        gc.set_threshold(*before)
    gc.collect()
    eventually(lambda: len(rung) == 2 * wanted)
    eventually(lambda: ended(clock))


def test_a_clock_that_starts_afresh_knows_no_alarm_of_before():
    clock, rung = Clock(), list[str]()
    clock.at(time.monotonic() + 3600, lambda: rung.append("inherited"))
    clock.start_afresh()
    assert rings_at_once(clock)
    assert not rung
    eventually(lambda: ended(clock))
