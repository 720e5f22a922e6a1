"""The account of a deadline: where the time went, on a clock that the test moves."""

from __future__ import annotations

import threading

import pytest

from dbkit.runtime import deadlines
from dbkit.runtime.deadlines import Deadline

from .helpers import PATIENCE


class Clock:
    def __init__(self) -> None:
        self.now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(deadlines, "monotonic", lambda: made.now)
    return made


def spent(deadline: Deadline, *, in_line_since: float | None = None) -> tuple[float, float, float, float]:
    """Waiting, connecting, in statements, elsewhere."""
    found = deadline.spent(in_line_since=in_line_since)
    return found.waiting, found.connecting, found.statements, found.elsewhere


def test_a_deadline_is_a_moment(clock: Clock):
    deadline = Deadline(30)
    assert (deadline.seconds, deadline.at, deadline.left()) == (30, 130, 30)
    clock.now = 131
    assert deadline.left() == -1
    assert deadline.give_up_at() == 131  # a second later at the most


def test_what_is_not_accounted_for_was_spent_elsewhere(clock: Clock):
    deadline = Deadline(30)
    clock.now = 107
    assert spent(deadline) == (0, 0, 0, 7)


def test_waits_and_statements_add_up(clock: Clock):
    deadline = Deadline(30)
    deadline.stood_in_line(100, 102)
    deadline.stood_in_line(103, 104)
    for began, ended in ((104, 106), (107, 110)):
        clock.now = began
        assert deadline.sending()
        clock.now = ended
        deadline.answered()
    clock.now = 120
    assert spent(deadline) == (3, 0, 5, 12)


def test_of_a_wait_the_part_in_which_a_connection_was_opened_is_connecting(clock: Clock):
    deadline = Deadline(30)
    clock.now = 102
    deadline.connecting()
    clock.now = 105
    deadline.connected()
    deadline.stood_in_line(101, 106)
    clock.now = 110
    assert spent(deadline) == (2, 3, 0, 5)
    clock.now = 112
    deadline.connecting()
    clock.now = 115
    assert spent(deadline, in_line_since=111) == (2 + 1, 3 + 3, 0, 6)
    assert spent(deadline) == (2, 3, 0, 10)


def test_a_statement_within_a_statement_counts_once(clock: Clock):
    deadline = Deadline(30)
    assert deadline.sending()
    clock.now = 101
    assert not deadline.sending()
    clock.now = 104
    deadline.answered()
    deadline.answered()
    assert spent(deadline) == (0, 0, 4, 0)


def test_statements_of_threads_that_share_it_add_up(clock: Clock):
    deadline = Deadline(30)

    def another() -> None:
        assert deadline.sending()
        clock.now = 103
        deadline.answered()

    assert deadline.sending()
    thread = threading.Thread(target=another)
    thread.start()
    thread.join(PATIENCE)
    clock.now = 105
    deadline.answered()
    assert spent(deadline) == (0, 0, 3 + 5, 0)
