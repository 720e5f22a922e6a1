"""Blocks of the session layer on an event loop: they end as they would with ``with``, by a cancellation too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import psycopg
import pytest

from dbkit import AsyncDatabaseConnectionManager
from dbkit.session.asyncio import AsyncBlock


@contextmanager
def block(ended: list[str], *, swallows: bool = False) -> Iterator[int]:
    try:
        yield 7
    except ZeroDivisionError:
        ended.append("by an error")
        if not swallows:
            raise
    else:
        ended.append("well")


def test_its_user_gets_what_is_shown_of_it():
    ended: list[str] = []

    async def main() -> None:
        async with AsyncBlock(block(ended), str) as shown:
            assert shown == "7"
            assert ended == []
        assert ended == ["well"]

    asyncio.run(main())


def test_what_cannot_be_shown_ends_the_block():
    ended: list[str] = []

    def fail(given: int) -> NoReturn:
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with AsyncBlock(block(ended), fail):
                pytest.fail("there is nothing to be used")

    asyncio.run(main())
    assert ended == ["by an error"]


def test_an_error_within_is_the_blocks_to_judge():
    ended: list[str] = []

    async def main() -> None:
        async with AsyncBlock(block(ended, swallows=True), str):
            raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError):
            async with AsyncBlock(block(ended), str):
                raise ZeroDivisionError

    asyncio.run(main())
    assert ended == ["by an error"] * 2


def test_a_cancellation_that_the_driver_hides_is_what_the_task_is_told(
    run, shared_database: str, table: str, monkeypatch: pytest.MonkeyPatch
):
    """psycopg asserts that it left a pipeline, where a cancellation cut it off as that was entered."""

    async def cut_off(*_: Any) -> None:
        try:
            raise asyncio.CancelledError
        finally:
            raise AssertionError

    monkeypatch.setattr(psycopg.AsyncCursor, "executemany", cut_off)

    async def main() -> None:
        url = shared_database.replace("postgresql://", "postgresql+psycopg://")
        rows = [{"id": number, "name": "one"} for number in range(3)]
        async with AsyncDatabaseConnectionManager(url, min_size=0, max_size=1) as db:
            with pytest.raises(asyncio.CancelledError):
                await db.execute_many(f"INSERT INTO {table} VALUES (:id, :name)", rows)
            assert db.stats().in_use == 0

    run(main())
