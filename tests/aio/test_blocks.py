"""Blocks of the session layer for ``async with``: they end as they would with ``with``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

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
