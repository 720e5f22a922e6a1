"""From samples and keys to pictures: pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dbkit.cli.top.sections import bar, listed, sparkline
from dbkit.cli.top.state import INTERVALS, Picture, Sample, Sort, Trouble, chains, press, with_sample

from .some_pictures import ACTIVITY, POOL, session, times

START = Picture(target="app@db/shop", asks_app=True)


def test_the_first_sample_has_no_pace_and_the_second_has():
    first = with_sample(START, Sample(ACTIVITY, POOL, at=10.0))
    assert (first.server, first.pool, first.per_second, first.pace) == (ACTIVITY, POOL, None, None)
    later = replace(ACTIVITY, at=ACTIVITY.at + 2, transactions=ACTIVITY.transactions + 100)
    more = replace(POOL, borrows=POOL.borrows + 40, wait=times(12, 3.0), use=times(110, 5.0))
    second = with_sample(first, Sample(later, more, at=12.0))
    assert second.per_second == 50
    assert (second.pace.borrows, second.pace.wait, second.pace.use) == (20, 1.0, 0.1)
    assert (second.waits, second.uses) == ((1.0,), (0.1,))


def test_where_nobody_waited_there_is_no_wait():
    first = with_sample(START, Sample(None, POOL, at=1.0))
    second = with_sample(first, Sample(None, POOL, at=2.0))
    assert (second.pace.wait, second.pace.use, second.waits) == (None, None, (0.0,))


@pytest.mark.parametrize("other", [replace(POOL, pid=9), replace(POOL, borrows=1)])
def test_another_process_is_a_new_beginning(other):
    first = with_sample(START, Sample(None, POOL, at=1.0))
    assert with_sample(first, Sample(None, other, at=2.0)).pace is None


def test_trouble_is_shown_beside_what_was_last_seen_and_goes_when_it_is_over():
    seen = with_sample(START, Sample(ACTIVITY, POOL, at=1.0))
    trouble = with_sample(seen, Sample(Trouble("refused"), Trouble("gone"), at=2.0))
    assert (trouble.server, trouble.server_trouble, trouble.pool, trouble.pool_trouble) == (
        ACTIVITY,
        "refused",
        POOL,
        "gone",
    )
    again = with_sample(trouble, Sample(ACTIVITY, POOL, at=3.0))
    assert (again.server_trouble, again.pool_trouble, again.pace) == (None, None, None)


def test_a_history_is_bounded():
    picture = START
    for at in range(100):
        picture = with_sample(picture, Sample(None, POOL, at=float(at)))
    assert len(picture.waits) == len(picture.uses) == 60


# ---- keys


@pytest.mark.parametrize("key", ["q", "Q", "\x1b", "\x03"])
def test_keys_that_leave(key):
    assert press(START, key).leave


def test_keys_that_change_the_picture():
    assert press(START, "p").picture.paused
    assert not press(START, "p").look
    assert press(replace(START, paused=True), "p").look
    assert press(press(START, "?").picture, "?").picture == START
    assert press(START, " ").look
    assert [press(START, key).picture.sort for key in "teai"] == list(Sort)
    picture, seen = START, []
    for _ in Sort:
        picture = press(picture, "s").picture
        seen.append(picture.sort)
    assert set(seen) == set(Sort)
    assert seen[-1] is START.sort
    assert press(START, "x").picture == START


def test_the_pace_goes_through_the_steps_and_stays_within():
    picture = START
    for _ in range(20):
        picture = press(picture, "+").picture
    assert picture.interval == INTERVALS[0]
    for _ in range(20):
        picture = press(picture, "-").picture
    assert picture.interval == INTERVALS[-1]


# ---- sessions


def test_who_blocks_whom_is_a_tree():
    sessions = [
        session(1),
        session(2, blocked_by=(1,)),
        session(3, blocked_by=(2,)),
        session(4, blocked_by=(1,)),
        session(5),
    ]
    (root,) = chains(sessions)
    assert (root.session.pid, [each.session.pid for each in root.behind]) == (1, [2, 4])
    assert [each.session.pid for each in root.behind[0].behind] == [3]
    assert root.behind[0].behind[0].depth == 2


def test_a_circle_of_locks_is_cut_and_an_unknown_blocker_is_no_blocker():
    circle = [session(1, blocked_by=(2,)), session(2, blocked_by=(1,)), session(3, blocked_by=(99,))]
    (root,) = chains(circle)
    assert [root.session.pid, root.behind[0].session.pid] == [2, 1]
    assert root.behind[0].behind == ()


def test_sessions_are_sorted():
    sessions = [
        session(3, application="a", transaction=1.0, state="active", state_for=1.0),
        session(1, application="b", transaction=9.0, state="active", state_for=5.0),
        session(2, application="a", state="idle", state_for=7.0),
    ]
    assert [each.pid for each in listed(sessions, Sort.TRANSACTION)] == [1, 3]
    assert [each.pid for each in listed(sessions, Sort.STATE)] == [1, 3, 2]
    assert [each.pid for each in listed(sessions, Sort.APPLICATION)] == [2, 3, 1]
    assert [each.pid for each in listed(sessions, Sort.PID)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("in_use", "opening", "idle", "most", "waiting", "shown"),
    [
        (0, 0, 0, 10, 0, "··········"),
        (5, 1, 2, 10, 0, "█████▒░░··"),
        (10, 0, 0, 10, 3, "██████████+!!!"),
        (1, 0, 0, 1000, 0, "█·········"),
        (12, 0, 0, 10, 99, "██████████+!!!!!"),
    ],
)
def test_the_bar(in_use, opening, idle, most, waiting, shown):
    pool = replace(POOL, in_use=in_use, opening=opening, idle=idle, max_size=most, waiting=waiting)
    assert str(bar(pool, 10)) == shown


def test_a_sparkline_is_as_wide_as_it_should_be():
    assert sparkline((), 4) == "    "
    assert sparkline((0.0, 1.0, 0.5), 5) == "  ▁█▄"
    assert sparkline(tuple(range(9)), 3) == "▆▇█"
