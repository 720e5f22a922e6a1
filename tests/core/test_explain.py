"""Why a borrower got nothing, and who holds what, in words: pure."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from dbkit.core.explain import OWN_HOLD, Standstill, describe, why_timed_out
from dbkit.core.holding import PLACES, SHOWN, Borrow, Borrower, Call, Holder, places, tell
from dbkit.core.reconnecting import Reconnecting
from dbkit.core.stats import PoolStats


def numbers(*, in_use: int = 2, idle: int = 0, opening: int = 0, max_size: int = 2) -> PoolStats:
    size = in_use + idle + opening
    return PoolStats(size=size, idle=idle, in_use=in_use, opening=opening, waiting=3, min_size=0, max_size=max_size)


def holder(number: int, seconds: float, **more: Any) -> Holder:
    return Holder(thread=f"thread-{number}", thread_id=number, seconds=seconds, **more)


HOLDERS = (holder(1, 9.0), holder(2, 4.0), holder(1, 1.0))


def found(stats: PoolStats, trouble: Reconnecting | None = None, **given: Any) -> Standstill:
    given = {"paused": False, "pending": None, "now": 100.0} | given
    return describe(stats, trouble or Reconnecting(300), HOLDERS, **given)


def test_the_counts() -> None:
    stats = numbers(in_use=4, idle=1, opening=2, max_size=9)
    assert found(stats).counts == "4 in use, 1 idle, 2 opening, of max_size=9; 3 more waiting."
    assert ", with no limit;" in found(numbers(max_size=sys.maxsize)).counts


def test_a_pause_is_all_there_is_to_say() -> None:
    standstill = found(numbers(), paused=True, pending="the token is slow")
    assert (standstill.cause, standstill.held_since) == (" The pool is paused; resume() serves the line.", {})


def test_an_outage_is_told_before_the_holders() -> None:
    trouble = Reconnecting(300)
    trouble.failed(ConnectionError("refused"), 97.5, began=97.0, refused=False, jitter=0.0)
    standstill = found(numbers(), trouble, pending="the token is slow")
    assert standstill.cause.startswith(" The token is slow. The server cannot be reached: 1 attempts failed in 2.5 s")
    assert standstill.cause.endswith("refused")
    assert standstill.held_since == {}


def test_the_holders_of_a_full_pool_and_since_when_each_has_had_its_first() -> None:
    for stats in (numbers(), numbers(in_use=1, idle=1), numbers(in_use=3)):
        standstill = found(stats)
        assert standstill.cause == f" Held by:{tell(HOLDERS)}"
        assert standstill.held_since == {1: 91.0, 2: 96.0}
    assert found(numbers(in_use=1, opening=1)).held_since == {}  # it is the connection attempt that takes long


def test_nobody_holds_anything() -> None:
    assert describe(numbers(), Reconnecting(300), (), paused=False, pending=None, now=100.0).cause == ""


@pytest.mark.parametrize(
    ("asking", "began", "itself"), [(1, 92.0, True), (1, 91.0, False), (1, 90.0, False), (3, 99.0, False)]
)
def test_one_that_waits_for_itself_is_told_so(asking: int, began: float, itself: bool) -> None:
    text = why_timed_out(1.5, found(numbers()), asking=asking, began=began, kind="task")
    assert text.startswith("no connection within timeout=1.5 s: 2 in use, 0 idle")
    assert text.endswith(OWN_HOLD.format(kind="task")) is itself


def test_the_oldest_are_named_and_the_rest_counted() -> None:
    many = [holder(number, 1.0) for number in range(SHOWN + 2)]
    assert tell(many[:SHOWN]).count("\n  - thread-") == SHOWN
    assert "more" not in tell(many[:SHOWN])
    assert tell(many[: SHOWN + 1]).endswith("\n  - and 1 more")
    assert tell(many).endswith(f"\n  - thread-{SHOWN - 1} for 1.0 s\n  - and 2 more")


LIBRARY, USERS = "/lib/sqlalchemy/", "/home/ada/"


def call(number: int, folder: str) -> Call:
    return Call(f"f{number}", folder if folder == "<string>" else f"{folder}x.py", number)


@pytest.mark.parametrize(
    ("files", "own"),
    [
        ([LIBRARY, USERS, LIBRARY, USERS], [1, 3]),
        ([LIBRARY, "<string>", LIBRARY, USERS], [3]),  # SQLAlchemy's generated code
        ([LIBRARY, "<string>", LIBRARY], [0, 1, 2]),
        ([USERS, "<string>", LIBRARY], [0, 1]),  # the user's own exec()
        ([LIBRARY, "<string>", USERS], [1, 2]),
        (["<string>", LIBRARY, USERS], [0, 2]),
        ([LIBRARY, "<string>"], [1]),  # python -c
        ([LIBRARY, LIBRARY], [0, 1]),  # none is the user's own: better all than nothing
        ([USERS] * (PLACES + 2), list(range(PLACES))),
        ([], []),
    ],
)
def test_the_users_own_calls(files: list[str], own: list[int]) -> None:
    calls = [call(number, folder) for number, folder in enumerate(files)]
    assert places(calls, (LIBRARY,)) == tuple(str(calls[number]) for number in own)


def test_a_borrow_knows_as_much_as_its_borrower() -> None:
    code = test_a_borrow_knows_as_much_as_its_borrower.__code__
    assert Borrow.of(7, 1.5) == Borrow(thread_id=7, since=1.5)
    assert Borrow.of(Borrower(7, ((code, 3),)), 1.5) == Borrow(thread_id=7, since=1.5, site=((code, 3),))


def test_a_holder_in_words() -> None:
    where = ("a (x.py:1)", "b (x.py:2)", "c (x.py:3)", "d (x.py:4)")
    assert str(holder(1, 2.0)) == "thread-1 for 2.0 s"
    assert str(holder(1, 2.0, where=where)) == "thread-1 for 2.0 s, now at a (x.py:1) < b (x.py:2)"
    assert str(holder(1, 2.0, where=where, ended=True, kind="task")) == "thread-1 for 2.0 s, the task has ended"
    assert str(holder(1, 2.0, borrowed_at=where)).endswith(", borrowed at a (x.py:1) < b (x.py:2) < c (x.py:3)")
