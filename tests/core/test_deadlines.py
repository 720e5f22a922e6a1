"""The arithmetic of deadlines."""

from __future__ import annotations

import math

import pytest

from dbkit.core.deadlines import grace, is_worn, milliseconds, overlap, spend


def test_the_rest_was_spent_elsewhere():
    spent = spend(10.0, waiting=1.0, connecting=2.0, statements=3.0)
    assert (spent.waiting, spent.connecting, spent.statements, spent.elsewhere) == (1.0, 2.0, 3.0, 4.0)
    assert str(spent) == ("1.00 s waiting for a connection, 2.00 s connecting, 3.00 s in statements, 4.00 s elsewhere")


def test_threads_that_share_a_deadline_may_spend_more_than_there_was():
    assert spend(1.0, waiting=1.0, connecting=0.0, statements=1.0).elsewhere == 0.0


@pytest.mark.parametrize(("since", "until", "expected"), [(1, 2, 1), (0, 9, 2), (2, 9, 1), (3, 9, 0), (0, math.inf, 2)])
def test_what_two_spans_have_in_common(since, until, expected):
    assert overlap(1, 3, since, until) == expected


def test_the_server_is_never_told_that_there_is_no_limit():
    assert [milliseconds(seconds) for seconds in (0.0, 0.0001, 0.0011, 2)] == [1, 1, 2, 2000]


@pytest.mark.parametrize(("seconds", "expected"), [(0, 0.1), (2, 0.1), (10, 0.5), (20, 1.0), (1000, 1.0)])
def test_a_server_is_given_up_a_twentieth_later_within_bounds(seconds, expected):
    assert grace(seconds) == expected


def test_a_timeout_is_set_again_when_more_than_a_tenth_is_gone():
    assert not is_worn(0.95, 1.0)
    assert not is_worn(0.9, 1.0)
    assert is_worn(0.89, 1.0)
    assert not is_worn(1.0, 0.9)


def test_a_timeout_is_set_again_when_its_deadline_is_over():
    assert is_worn(None, 1.0)  # there is none any more
    assert is_worn(10.0, 1.0)  # an outer one holds again
    assert is_worn(1.0, None)
    assert not is_worn(None, None)
