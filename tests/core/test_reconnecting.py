"""The backoff, without clock or randomness."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbkit.core.reconnecting import (
    LONGEST_DELAY,
    LONGEST_WHILE_WAITED_FOR,
    SHORTEST_DELAY,
    Reconnecting,
    retry_delay,
)

from .ledgers import steady


def outage(patience: float = 300.0) -> Reconnecting:
    """Return what a pool knows that has worked."""
    state = Reconnecting(patience)
    state.recovered()
    return state


def failed(state: Reconnecting, now: float, *, began: float | None = None, refused: bool = False) -> None:
    state.failed(OSError("away"), now, began=now if began is None else began, refused=refused, jitter=0.0)


@pytest.mark.parametrize(("number", "least"), [(1, 0.1), (2, 0.2), (3, 0.4), (5, 1.6), (6, 2.5), (1000, 2.5)])
def test_the_delay_doubles_up_to_its_longest_and_is_spread(number, least):
    assert retry_delay(number, 0.0) == pytest.approx(least)
    assert retry_delay(number, 0.5) == pytest.approx(1.5 * least)


@steady
@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_no_delay_is_out_of_its_bounds(number, jitter):
    assert SHORTEST_DELAY <= retry_delay(number, jitter) <= LONGEST_DELAY


@pytest.mark.parametrize(("number", "jitter"), [(0, 0.0), (-1, 0.0), (1, 1.0), (1, -0.1), (1, math.nan)])
def test_nonsense_is_refused(number, jitter):
    with pytest.raises(ValueError, match="must be"):
        retry_delay(number, jitter)


def test_the_limits_are_the_documented_ones():
    assert (SHORTEST_DELAY, LONGEST_DELAY, LONGEST_WHILE_WAITED_FOR) == (0.1, 5.0, 0.5)


def test_a_pool_that_never_connected_reports_every_failure():
    state = Reconnecting(300.0)
    assert not state.has_worked
    failed(state, 1.0)
    assert (state.failures, state.riding_out) == (1, False)


def test_an_outage_is_ridden_out_for_as_long_as_patience_lasts():
    state = outage(10.0)
    failed(state, 5.0)
    assert (state.riding_out, state.since) == (True, 5.0)
    failed(state, 14.9)
    assert state.riding_out
    failed(state, 15.0)
    assert (state.riding_out, state.since) == (False, 5.0)


def test_a_refusal_is_not_ridden_out():
    state = outage()
    failed(state, 1.0, refused=True)
    assert not state.riding_out


def test_success_ends_it_all():
    state = outage(10.0)
    failed(state, 5.0)
    failed(state, 100.0)
    state.recovered()
    failed(state, 150.0)
    assert state.riding_out
    state.recovered()
    assert (state.failures, state.rounds, state.last_error, state.last_words) == (0, 0, None, "")
    assert not state.riding_out
    assert state.retry_at(somebody_waits=False) == -math.inf
    failed(state, 200.0)
    assert (state.riding_out, state.rounds, state.failures) == (True, 1, 1)
    assert state.retry_at(somebody_waits=False) == pytest.approx(200.1)


def test_attempts_that_began_before_the_last_step_are_of_the_same_round():
    state = outage()
    for moment in range(16):
        failed(state, 1.0 + moment / 100, began=0.9)
    assert (state.failures, state.rounds) == (16, 1)
    assert state.retry_at(somebody_waits=False) == pytest.approx(1.1)
    failed(state, 1.2, began=1.1)
    assert state.rounds == 2
    assert state.retry_at(somebody_waits=False) == pytest.approx(1.4)


def test_one_that_began_in_the_very_moment_of_the_step_is_the_next_round():
    state = outage()
    failed(state, 1.0, began=1.0)
    failed(state, 1.0, began=1.0)
    assert state.rounds == 2


def test_while_somebody_waits_no_attempt_is_further_away_than_half_a_second():
    state = outage()
    for moment in range(10):
        failed(state, float(moment))
    assert state.retry_at(somebody_waits=False) == pytest.approx(9 + 2.5)
    assert state.retry_at(somebody_waits=True) == pytest.approx(9 + 0.5)


def test_the_last_words_are_kept_also_of_an_error_that_says_nothing():
    state = outage()
    error = OSError("  no route \n")
    state.failed(error, 0.0, began=0.0, refused=False, jitter=0.0)
    assert (state.last_error, state.last_words) == (error, "no route")
    state.failed(OSError(), 1.0, began=1.0, refused=False, jitter=0.0)
    assert state.last_words == "OSError"


def test_without_a_failure_all_that_is_wanted_is_allowed():
    assert outage().allowed(7, 0.0, opening=3, somebody_waits=True) == 7


@pytest.mark.parametrize(("now", "opening", "allowed"), [(1.05, 0, 0), (1.1, 0, 1), (1.1, 1, 0), (5.0, 0, 1)])
def test_in_an_outage_there_is_one_probe_at_a_time_when_its_backoff_is_over(now, opening, allowed):
    state = outage()
    failed(state, 1.0)
    assert state.retry_at(somebody_waits=True) == 1.1
    assert state.allowed(7, now, opening=opening, somebody_waits=True) == allowed
    assert state.allowed(7, now, opening=opening, somebody_waits=False) == allowed


def test_nobody_probes_when_nothing_is_wanted():
    state = outage()
    failed(state, 1.0)
    assert state.allowed(0, 9.0, opening=0, somebody_waits=False) == 0


def test_those_who_are_told_at_once_wait_for_no_backoff_but_a_refill_does():
    state = outage(patience=0.0)
    failed(state, 1.0)
    assert state.allowed(3, 1.0, opening=2, somebody_waits=True) == 3
    assert state.allowed(3, 1.0, opening=0, somebody_waits=False) == 0
