"""When a pool's upkeep is due."""

from __future__ import annotations

import math

import pytest

from dbkit.core.schedule import Alarm


def test_the_first_ring_must_be_asked_for():
    assert Alarm().wants(1e9)


def test_nothing_to_do_needs_no_ring():
    assert not Alarm().wants(math.inf)


def test_only_an_earlier_ring_must_be_asked_for():
    alarm = Alarm()
    alarm.asked(10.0)
    assert not alarm.wants(10.0)
    assert not alarm.wants(11.0)
    assert alarm.wants(9.0)


def test_wanting_notes_nothing_so_an_exception_before_the_asking_costs_nothing():
    alarm = Alarm()
    assert alarm.wants(5.0)
    assert alarm.wants(5.0)


def test_after_a_ring_the_next_must_be_asked_for():
    alarm = Alarm()
    alarm.asked(10.0)
    alarm.rang(10.0)
    assert alarm.wants(20.0)


def test_the_ring_of_an_earlier_alarm_leaves_a_later_one():
    alarm = Alarm()
    alarm.asked(20.0)
    alarm.asked(5.0)
    alarm.rang(5.0)
    assert not alarm.wants(20.0)
    assert alarm.wants(19.0)


def test_rings_do_not_pile_up_when_an_earlier_one_comes_first():
    """Ten probes in an outage, each with its own ring, leave the one ring of the next keepalive as it is."""
    alarm = Alarm()
    alarm.asked(1000.0)
    for when in range(10):
        assert alarm.wants(float(when))
        alarm.asked(float(when))
        alarm.rang(float(when))
        assert not alarm.wants(1000.0)


def test_a_ring_that_was_never_noted_is_harmless():
    alarm = Alarm()
    alarm.rang(3.0)
    assert alarm.wants(3.0)


def test_of_several_rings_on_their_way_the_first_counts():
    alarm = Alarm()
    alarm.asked(10.0)
    alarm.asked(5.0)
    assert not alarm.wants(7.0)
    assert alarm.wants(4.0)


def test_a_ring_that_came_before_it_was_noted_is_not_waited_for():
    """The clock rings on another thread, at once if it is due. Noted for good, it would be the last alarm."""
    alarm = Alarm()
    alarm.rang(5.0)
    alarm.asked(5.0)
    assert alarm.wants(20.0)
    alarm.asked(20.0)
    assert not alarm.wants(30.0)
    alarm.rang(20.0)
    assert alarm.wants(30.0)


def test_a_ring_that_was_asked_for_twice_and_comes_twice_leaves_nothing_behind():
    """Two borrowers may ask for the same one; and an upkeep that was struck is rung for once more."""
    alarm = Alarm()
    for _ in range(2):
        alarm.asked(5.0)
    for _ in range(3):
        alarm.rang(5.0)
    alarm.asked(20.0)
    assert not alarm.wants(30.0)
    assert alarm.wants(10.0)


def test_an_exception_that_strikes_while_a_ring_is_noted_that_came_before_leaves_no_last_alarm():
    """Whatever becomes of the noting: one that waits for a ring which came already would wait for ever."""

    class StrikesAfterwards(set):
        def add(self, one):
            super().add(one)
            raise KeyboardInterrupt

    alarm = Alarm()
    alarm.rang(5.0)
    alarm._noted = StrikesAfterwards()
    with pytest.raises(KeyboardInterrupt):
        alarm.asked(5.0)
    assert alarm.wants(20.0)


def test_what_is_noted_does_not_grow_with_the_rings():
    alarm = Alarm()
    for when in range(100):
        alarm.rang(float(when))
        alarm.asked(float(when))
    alarm.rang(100.0)
    assert not alarm._noted
