"""The time limits of a loop: struck in time and in order, behind one timer, and forgotten once given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dbkit.runtime import loop_clock
from dbkit.runtime.loop_clock import LoopClock


class Timer:
    def __init__(self, when: float, ring: Callable[[], None]) -> None:
        self.when = when
        self.ring = ring
        self.live = True

    def cancel(self) -> None:
        self.live = False


class Loop:
    """A loop whose time the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[Timer] = []

    def call_later(self, seconds: float, ring: Callable[[], None]) -> Timer:
        assert seconds >= 0
        self._timers.append(Timer(self.now + seconds, ring))
        return self._timers[-1]

    def due(self) -> list[float]:
        """Seconds until each of the timers rings, from the beginning on."""
        return sorted(timer.when - 1000 for timer in self._timers if timer.live)

    def move(self, seconds: float) -> None:
        """To so many seconds after the beginning; what is due rings."""
        self.now = 1000 + seconds
        for timer in sorted(self._timers, key=lambda timer: timer.when):
            if timer.live and timer.when <= self.now:
                timer.live = False
                timer.ring()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    monkeypatch.setattr(loop_clock, "monotonic", lambda: made.now)
    monkeypatch.setattr(loop_clock, "MANY", 10)
    return made


@pytest.fixture
def clock(loop: Loop) -> LoopClock:
    given: Any = loop
    return LoopClock(given)


def test_limits_strike_at_their_times_behind_one_timer(loop: Loop, clock: LoopClock):
    struck: list[str] = []
    for seconds, name in ((3, "third"), (1, "first"), (2, "second"), (2, "second too")):
        clock.limit(seconds, lambda name=name: struck.append(name))
        assert len(loop.due()) == 1
    for seconds, so_far in ((0.9, 0), (1, 1), (1.9, 1), (2, 3), (2.9, 3), (3, 4)):
        loop.move(seconds)
        assert len(struck) == so_far
        assert loop.due() == [first for first in (1, 2, 3) if first > seconds][:1]
    assert struck == ["first", "second", "second too", "third"]


def test_a_later_limit_leaves_the_timer_alone_and_an_earlier_one_moves_it(loop: Loop, clock: LoopClock):
    for seconds, rings in ((5, 5), (7, 5), (5, 5), (3, 3)):
        clock.limit(seconds, lambda: None)
        assert loop.due() == [rings]
    assert len(loop._timers) == 2


def test_a_limit_in_the_past_strikes_in_the_next_turn(loop: Loop, clock: LoopClock):
    struck: list[float] = []
    clock.limit(-5, lambda: struck.append(loop.now))
    assert not struck
    loop.move(0)
    assert struck == [1000]


def test_a_limit_that_was_given_up_is_nothing(loop: Loop, clock: LoopClock):
    struck: list[str] = []
    never, soon = clock.limit(1, lambda: struck.append("never")), clock.limit(2, lambda: struck.append("soon"))
    clock.give_up(never)
    clock.give_up(never)
    loop.move(1)
    assert not struck
    assert loop.due() == [2]
    loop.move(2)
    clock.give_up(soon)
    assert struck == ["soon"]
    assert loop.due() == []


def test_no_timer_is_set_for_one_that_was_given_up(loop: Loop, clock: LoopClock):
    first, second = clock.limit(1, lambda: None), clock.limit(2, lambda: None)
    clock.limit(3, lambda: None)
    clock.give_up(second)
    loop.move(1)
    assert loop.due() == [3]
    clock.give_up(first)  # it struck, and counts no more


def test_a_strike_may_set_a_limit(loop: Loop, clock: LoopClock):
    struck: list[float] = []
    clock.limit(1, lambda: clock.limit(1, lambda: struck.append(loop.now)))
    clock.limit(5, lambda: None)
    loop.move(1)
    assert loop.due() == [2]
    loop.move(2)
    assert struck == [1002]
    assert loop.due() == [5]


def test_one_of_two_for_the_same_moment_may_give_the_other_up(loop: Loop, clock: LoopClock):
    struck: list[str] = []
    clock.limit(1, lambda: (struck.append("first"), clock.give_up(other)))
    other = clock.limit(1, lambda: struck.append("other"))
    loop.move(1)
    assert struck == ["first"]


def given_up(clock: LoopClock, number: int, *, seconds: float = 100) -> None:
    for limit in [clock.limit(seconds, lambda: None) for _ in range(number)]:
        clock.give_up(limit)


@pytest.mark.parametrize(
    ("given", "live", "left"),
    [(10, 0, 10), (11, 0, 0), (11, 10, 10), (11, 11, 22), (12, 11, 11)],
    ids=["few", "many", "more than half", "half", "soon more than half"],
)
def test_of_many_that_were_given_up_no_more_than_half_stay(clock: LoopClock, given: int, live: int, left: int):
    struck: list[int] = []
    for number in range(live):
        clock.limit(200 - number, lambda number=number: struck.append(number))
    given_up(clock, given)
    assert len(clock._heap) == left
    if left == live:  # they were cleared, and are counted anew
        given_up(clock, 10)
        assert len(clock._heap) == left + 10


def test_the_others_strike_in_order_after_a_clearance(loop: Loop, clock: LoopClock):
    struck: list[int] = []
    given_up(clock, 5, seconds=1)
    for number in (3, 1, 2, 5, 4):
        clock.limit(10 + number, lambda number=number: struck.append(number))
        given_up(clock, 2, seconds=10 + number)
    assert len(clock._heap) < 20
    for number in range(1, 6):
        loop.move(10 + number)
        assert struck == list(range(1, number + 1))


def test_those_that_would_have_struck_count_no_more(loop: Loop, clock: LoopClock):
    given_up(clock, 10, seconds=1)
    loop.move(1)
    assert len(clock._heap) == 0
    clock.limit(100, lambda: None)
    given_up(clock, 10)
    assert len(clock._heap) == 11


def test_a_strike_may_have_the_rest_cleared(loop: Loop, clock: LoopClock):
    """It gives many up, so that the heap is another one when the next limit is looked for."""
    struck: list[str] = []
    many = [clock.limit(50, lambda: None) for _ in range(20)]
    clock.limit(1, lambda: [clock.give_up(one) for one in many])
    clock.limit(1, lambda: struck.append("at once"))
    clock.limit(60, lambda: struck.append("later"))
    loop.move(1)
    assert struck == ["at once"]
    assert loop.due() == [60]
    loop.move(60)
    assert struck == ["at once", "later"]
    assert loop.due() == []
