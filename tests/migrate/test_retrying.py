"""The decision to try a migration again, without a server and without a clock."""

from __future__ import annotations

import pytest

from dbkit.migrate.retrying import FIRST_PAUSE, LAST_PAUSE, pause_before_retry


def decide(sqlstate: str | None = "55P03", **changed) -> float | None:
    facts = {"undone": True, "attempt": 1, "time_left": 1000.0, "luck": 1.0} | changed
    return pause_before_retry(sqlstate, **facts)


@pytest.mark.parametrize("sqlstate", ("55P03", "40P01"))
def test_a_table_in_use_and_a_deadlock_pass(sqlstate):
    assert decide(sqlstate) == FIRST_PAUSE


@pytest.mark.parametrize("sqlstate", (None, "57014", "42P07", "23505", "08006", "40001"))
def test_nothing_else_is_tried_again(sqlstate):
    assert decide(sqlstate) is None


def test_nothing_is_done_twice():
    assert decide(undone=False) is None


def test_the_pauses_grow_up_to_a_limit_and_are_jittered():
    pauses = [decide(attempt=attempt) for attempt in range(1, 60)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LAST_PAUSE
    assert decide(luck=0.0) == FIRST_PAUSE / 2


def test_a_pause_that_would_end_after_the_deadline_is_not_begun():
    assert decide(time_left=FIRST_PAUSE) is None
    assert decide(time_left=0.0) is None
    assert decide(time_left=FIRST_PAUSE + 0.01) == FIRST_PAUSE
