"""Whether and when a transaction is run again."""

from __future__ import annotations

from itertools import product

import pytest

from dbkit.core.retrying import LONGEST, SHORTEST, Failure, judge, next_pause, pause


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_the_server_asks_for_another_try(sqlstate):
    assert judge(sqlstate, lost=False, partly_committed=False) is Failure.CONFLICT


def test_a_connection_lost_before_commit_is_worth_another_try():
    assert judge(None, lost=True, partly_committed=False) is Failure.LOST
    assert judge("57P01", lost=True, partly_committed=False) is Failure.LOST


@pytest.mark.parametrize("sqlstate", [None, "23505", "25006", "57014"])
def test_any_other_error_is_final(sqlstate):
    assert judge(sqlstate, lost=False, partly_committed=False) is Failure.FINAL


@pytest.mark.parametrize("sqlstate", [None, "40001"])
def test_what_is_committed_in_part_is_never_run_again(sqlstate):
    assert judge(sqlstate, lost=True, partly_committed=True) is Failure.FINAL


def test_pauses_double_up_to_the_longest():
    assert [pause(retry, 0, 1) for retry in (1, 2, 3)] == [SHORTEST, 2 * SHORTEST, 4 * SHORTEST]
    assert pause(1000, 0, 1) == LONGEST


def test_slow_attempts_are_spread_further_apart():
    assert pause(1, 0.3, 1) == 0.3
    assert pause(2, 0.3, 1) == 0.6


def test_a_pause_is_never_negative_nor_longer_than_the_longest():
    for retry, took, jitter in product((1, 7, 10**9), (0, 0.001, 60), (0, 0.5, 1)):
        assert 0 <= pause(retry, took, jitter) <= LONGEST


def test_the_number_of_retries_is_kept():
    assert next_pause(retry=5, retries=5, took=0, jitter=0.5, left=None) is not None
    assert next_pause(retry=6, retries=5, took=0, jitter=0.5, left=None) is None
    assert next_pause(retry=1, retries=0, took=0, jitter=0.5, left=None) is None


def test_no_retry_begins_after_the_deadline():
    assert next_pause(retry=1, retries=5, took=1, jitter=1, left=0.5) is None
    assert next_pause(retry=1, retries=5, took=1, jitter=0.5, left=0.5) is None
    assert next_pause(retry=1, retries=5, took=1, jitter=0.1, left=0.5) == pytest.approx(0.1)
