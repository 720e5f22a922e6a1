"""How long each of several addresses may take: a mute one passed by soon, a slow one not given up, all in time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbkit.core.connect_timeouts import AT_FIRST, LEAST, first_timeout, longer_timeout

MOST = 10
times = st.floats(0, 1000) | st.just(math.inf)
counts = st.integers(2, 20)


def rounds(left, addresses):
    """What each address gets, round by round, while all of them are mute."""
    given = [first_timeout(left, addresses, MOST)]
    while True:
        took = given[-1] * addresses
        left -= took
        longer = longer_timeout(left, addresses, MOST, before=given[-1], took=took)
        if longer is None:
            return given
        given.append(longer)


@pytest.mark.parametrize(
    ("left", "addresses", "expected"),
    [
        (30, 1, [10]),
        (0.5, 1, [10]),  # a late connection serves the next in line
        (30, 2, [2, 10]),
        (30, 3, [2, 8]),
        (9, 2, [2]),
        (10, 2, [2, 3]),
        (3, 2, [1]),
        (3, 3, [1]),
        (1, 2, [1]),
        (60, 20, [2]),
        (math.inf, 2, [2, 10]),
    ],
)
def test_each_gets_little_at_first_and_then_its_share(left, addresses, expected):
    assert rounds(left, addresses) == expected


def test_a_round_that_had_an_answer_is_not_made_longer():
    assert longer_timeout(26, 2, MOST, before=2, took=4.0) == 10
    assert longer_timeout(28, 2, MOST, before=2, took=2.1) is None  # one was mute, the other refused
    assert longer_timeout(30, 2, MOST, before=2, took=0.1) is None


def test_what_no_address_may_exceed_holds_for_all_rounds():
    assert first_timeout(30, 2, 1) == 1
    assert longer_timeout(28, 2, 1, before=1, took=2.0) is None


@given(times, counts)
def test_a_good_one_behind_one_mute_one_is_reached_within_three_seconds(left, addresses):
    assert LEAST <= first_timeout(left, addresses, MOST) <= AT_FIRST < 3


@given(times, counts)
def test_all_mute_ones_together_are_within_the_borrowers_time(left, addresses):
    assert sum(rounds(left, addresses)) * addresses <= max(left, LEAST * addresses)


@given(times, counts)
def test_a_slow_one_gets_its_share_where_there_is_time(left, addresses):
    given = rounds(left, addresses)
    assert given == sorted(set(given))
    assert given[-1] == MOST or left - sum(given) * addresses < (given[-1] + 1) * addresses
