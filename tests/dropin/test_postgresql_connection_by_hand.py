"""``__enter__`` and ``__exit__`` of ``PostgresqlConnection`` called otherwise than by a ``with`` statement."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import unittest
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dbkit.dropin import postgresql_connection as module
from dbkit.dropin.errors import NotLentError
from dbkit.dropin.postgresql_connection import PostgresqlConnection

from ..pool.helpers import Admin
from .blocks import in_use, say, words


def test_exit_stacks(db: PostgresqlConnection, admin: Admin, table: str):
    one, other = contextlib.ExitStack(), contextlib.ExitStack()
    say(one.enter_context(db), table, "one")
    say(other.enter_context(db), table, "other")
    say(one.enter_context(db), table, "one again")
    moved = one.pop_all()
    one.close()
    assert words(admin, table) == []
    assert in_use() == 3
    moved.close()
    assert words(admin, table) == ["one", "one again"]
    with pytest.raises(ValueError), other:
        raise ValueError
    assert words(admin, table) == ["one", "one again"]
    assert in_use() == 0


def test_an_asynchronous_exit_stack_and_unittests_way(db: PostgresqlConnection, admin: Admin, table: str):
    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            say(stack.enter_context(db), table, "asynchronous")

    class Case(unittest.TestCase):
        def runTest(self) -> None:
            say(self.enterContext(db), table, "tested")

    asyncio.run(main())
    assert Case().run().wasSuccessful()  # type: ignore[union-attr]
    assert words(admin, table) == ["asynchronous", "tested"]
    assert in_use() == 0


def test_by_hand(db: PostgresqlConnection, admin: Admin, table: str):
    say(db.__enter__(), table, "outer")
    say(db.__enter__(), table, "inner")
    with db as conn:
        say(conn, table, "block")
        db.__exit__(ValueError, ValueError(), None)
    assert words(admin, table) == ["block"]
    db.__exit__(None, None, None)
    assert words(admin, table) == ["block", "outer"]
    assert in_use() == 0


def test_by_hand_from_a_subclass_or_a_wrapper(db: PostgresqlConnection, admin: Admin, table: str):
    class Mine(PostgresqlConnection):
        def __enter__(self) -> Any:
            return super().__enter__()

        def __exit__(self, *details: Any) -> None:  # type: ignore[override]
            super().__exit__(*details)

    class Wrapper:
        def __enter__(self) -> Any:
            return db.__enter__()

        def __exit__(self, *details: Any) -> Any:
            return db.__exit__(*details)

    with Mine() as outer, Wrapper() as inner:
        say(outer, table, "outer")
        say(inner, table, "inner")
        with pytest.raises(ValueError), db as block:
            with Wrapper() as innermost:
                say(innermost, table, "innermost")
            say(block, table, "block")
            raise ValueError
        assert words(admin, table) == ["innermost"]
    assert words(admin, table) == ["inner", "innermost", "outer"]
    assert in_use() == 0


class Overriding(PostgresqlConnection):
    """A subclass with both methods of its own."""

    def __enter__(self) -> Any:
        return super().__enter__()

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)


def test_blocks_of_a_subclass_that_interleave(db: PostgresqlConnection, admin: Admin, table: str):
    mine = Overriding()

    def block(word: str) -> Iterator[None]:
        with mine as conn:
            say(conn, table, word)
            yield

    bad, good = block("bad"), block("good")
    next(bad)
    next(good)
    with pytest.raises(ValueError):
        bad.throw(ValueError())
    assert next(good, "ended") == "ended"
    with ExitStack() as stack:
        say(stack.enter_context(mine), table, "stacked")
    assert words(admin, table) == ["good", "stacked"]
    assert in_use() == 0


def test_a_kept_look_up_takes_nothing_from_who_begins_by_hand(db: PostgresqlConnection, admin: Admin, table: str):
    kept = inspect.getmembers(db)
    say(db.__enter__(), table, "by hand")
    db.__exit__(None, None, None)
    with ExitStack() as outer:
        first = db.__enter__()
        outer.push(db)
        say(first, table, "outer")
        with pytest.raises(ValueError), ExitStack() as inner:
            second = db.__enter__()
            inner.push(db)
            say(second, table, "bad")
            raise ValueError
        with db as third:
            assert third is not first
    assert words(admin, table) == ["by hand", "outer"]
    assert in_use() == 0
    del kept


def test_an_end_that_was_used_ends_nothing_else(db: PostgresqlConnection, admin: Admin, table: str):
    ending = []
    with ExitStack() as stack:
        stack.enter_context(db)
        ending.append(stack._exit_callbacks[-1][1].__func__)  # type: ignore[attr-defined]
    say(db.__enter__(), table, "by hand")
    with pytest.raises(NotLentError):
        ending[0](None, None, None)
    db.__exit__(ValueError, ValueError(), None)
    assert words(admin, table) == []


def test_looking_at_the_methods_changes_nothing(db: PostgresqlConnection, admin: Admin, table: str):
    kept = [db.__exit__ for _ in range(3)]
    with db as conn:
        assert hasattr(db, "__exit__")
        kept.append(db.__exit__)
        with db as inner:
            say(inner, table, "inner")
            kept.append(PostgresqlConnection.__exit__)
        say(conn, table, "outer")
    assert words(admin, table) == ["inner", "outer"]
    del kept
    say(db.__enter__(), table, "by hand")
    db.__exit__(None, None, None)
    assert words(admin, table) == ["by hand", "inner", "outer"]
    assert in_use() == 0
    for _ in range(100):
        assert db.__exit__ is not None
    assert len(module._here.looked_up) <= 1


def test_an_end_without_a_beginning_is_refused(db: PostgresqlConnection, admin: Admin, table: str):
    with db as conn:
        with pytest.raises(NotLentError, match="without an __enter__"):
            db.__exit__(None, None, None)
        say(conn, table, "unharmed")
    ending = db.__exit__
    say(db.__enter__(), table, "once")
    ending(None, None, None)
    with pytest.raises(NotLentError):
        ending(None, None, None)
    assert words(admin, table) == ["once", "unharmed"]
