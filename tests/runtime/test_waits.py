"""Waits that are given up at a moment: on a clock that rings when the test says."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from dbkit.runtime import waits
from dbkit.runtime.waits import BoundedWait


class Clock:
    """Keeps the alarms that are asked for, and rings them at the test's word."""

    def __init__(self) -> None:
        self.now = 100.0
        self.alarms: list[tuple[float, Callable[[], None]]] = []

    def at(self, when: float, ring: Callable[[], None]) -> None:
        self.alarms.append((when, ring))

    def due(self) -> list[float]:
        return sorted(when for when, _ in self.alarms)

    def move(self, now: float) -> None:
        """To this moment; what is due rings, in order."""
        self.now = now
        while due := sorted((alarm for alarm in self.alarms if alarm[0] <= now), key=lambda alarm: alarm[0]):
            self.alarms.remove(due[0])
            due[0][1]()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(waits, "_waits", waits._Waits())
    monkeypatch.setattr(waits.background, "clock", made)
    monkeypatch.setattr(waits, "monotonic", lambda: made.now)
    return made


class Server:
    """What is waited for."""

    def __init__(self, *, at_work: bool = True) -> None:
        self.at_work = at_work
        self.given_up = 0

    def give_up(self) -> bool:
        self.given_up += self.at_work
        return self.at_work


def begun(at: float, server: Server) -> BoundedWait:
    wait = BoundedWait(at, server.give_up)
    assert not wait.closed
    wait.begin()
    return wait


def test_a_wait_is_given_up_at_its_moment_and_once(clock: Clock):
    server = Server()
    wait = begun(105, server)
    clock.move(104)
    assert not wait.given_up
    clock.move(105)
    assert wait.given_up
    assert wait.closed
    wait.come_due()
    assert not wait.end()
    assert server.given_up == 1


def test_one_that_ended_is_left_alone(clock: Clock):
    server = Server()
    wait = begun(105, server)
    assert wait.end()
    assert wait.end()
    assert wait.closed
    clock.move(106)
    wait.come_due()
    assert not wait.given_up
    assert server.given_up == 0


def test_one_that_has_nothing_to_end_is_not_given_up(clock: Clock):
    wait = begun(105, Server(at_work=False))
    clock.move(105)
    assert not wait.given_up
    assert wait.end()


def test_one_that_never_began_can_be_closed(clock: Clock):
    wait = BoundedWait(105, Server().give_up)
    wait.close()
    assert wait.closed
    assert clock.alarms == []


def test_one_alarm_serves_all_waits(clock: Clock):
    servers = [Server() for _ in range(4)]
    kept = [begun(at, server) for at, server in zip((110, 120, 110, 105), servers, strict=True)]
    assert clock.due() == [105, 110]  # the later ones cost none
    clock.move(105)
    assert clock.due() == [110]
    clock.move(110)
    assert [server.given_up for server in servers] == [1, 0, 1, 1]
    assert clock.due() == [120]
    assert kept[1].end()
    clock.move(120)
    assert clock.due() == []


def test_one_that_is_no_earlier_than_a_ring_to_come_asks_for_none(clock: Clock):
    kept = [begun(110, Server()), begun(110, Server()), begun(130, Server())]
    assert clock.due() == [110]
    assert not any(wait.given_up for wait in kept)


def test_a_wait_that_nobody_knows_any_more_is_not_given_up(clock: Clock):
    server = Server()
    begun(105, server)
    gc.collect()
    clock.move(105)
    assert server.given_up == 0
    assert clock.due() == []
