"""Blocks of generators, coroutines and threads end in any order, and each ends its own transaction."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import weakref
from typing import Any

import pytest

from dbkit.dropin.postgresql_connection import PostgresqlConnection

from ..pool.helpers import Admin, Task
from .blocks import Saying, fail, finish, in_use, say, saying, words


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_blocks_of_generators_end_in_any_order(
    db: PostgresqlConnection, admin: Admin, table: str, order: tuple[int, ...]
):
    open_blocks = [saying(db, table, str(number)) for number in range(3)]
    for block in open_blocks:
        next(block)
    with db as conn:  # one of this very frame between them
        say(conn, table, "plain")
        (finish if order[0] != 1 else fail)(open_blocks[order[0]])
    for number in order[1:]:
        (finish if number != 1 else fail)(open_blocks[number])
    assert words(admin, table) == ["0", "2", "plain"]
    assert in_use() == 0


def test_a_block_may_end_on_another_thread(db: PostgresqlConnection, admin: Admin, table: str):
    """As FastAPI's dependencies do: ``yield`` in a ``with``, each step on any thread of a pool of threads."""
    good, bad = saying(db, table, "good"), saying(db, table, "bad")
    Task(next, good).outcome()
    with db as own:
        say(own, table, "own")
        Task(next, bad).outcome()
        Task(finish, good).outcome()
        assert in_use() == 2
        fail(bad)
    assert words(admin, table) == ["good", "own"]
    assert in_use() == 0


def test_coroutines_of_one_thread_interleave(db: PostgresqlConnection, admin: Admin, table: str):
    async def work(number: int, turns: int) -> None:
        with db as conn:
            say(conn, table, str(number))
            for _ in range(turns):
                await asyncio.sleep(0)
            if number == 1:
                raise ValueError

    async def main() -> list[Any]:
        return await asyncio.gather(work(0, 5), work(1, 3), work(2, 1), work(3, 4), return_exceptions=True)

    assert [type(result) for result in asyncio.run(main())] == [type(None), ValueError, type(None), type(None)]
    assert words(admin, table) == ["0", "2", "3"]
    assert in_use() == 0


def test_a_generator_that_is_forgotten_is_rolled_back(db: PostgresqlConnection, admin: Admin, table: str):
    class Local:
        pass

    gone: list[weakref.ref[Local]] = []

    def forgotten() -> Saying:
        local = Local()
        gone.append(weakref.ref(local))
        with db as conn:
            say(conn, table, "forgotten")
            yield conn
        del local

    generator = forgotten()
    next(generator)
    assert in_use() == 1
    del generator  # nothing else holds its frame
    assert gone[0]() is None
    assert in_use() == 0

    cycle: list[Any] = [forgotten()]
    cycle.append(cycle)
    next(cycle[0])
    del cycle
    gc.collect()
    assert gone[1]() is None
    assert in_use() == 0
    assert words(admin, table) == []


def test_any_number_of_threads_and_generators(db: PostgresqlConnection, admin: Admin, table: str):
    """Each block commits what it said and nothing else, whichever thread ends it, in any order."""
    threads, turns = 4, 40
    shared: list[tuple[Saying, str]] = []
    lock = threading.Lock()
    expected: list[str] = []
    slots = threading.Semaphore(4)  # as many as connections, so that no thread waits for what it holds itself

    def end_one(dice: random.Random) -> None:
        with lock:
            if not shared:
                return
            block, word = shared.pop(dice.randrange(len(shared)))
        if dice.random() < 0.5:
            finish(block)
            with lock:
                expected.append(word)
        elif dice.random() < 0.5:
            fail(block)
        else:
            block.close()
        slots.release()

    def work(seed: int) -> None:
        dice = random.Random(seed)
        for turn in range(turns):
            if slots.acquire(blocking=False):
                word = f"{seed}-{turn}"
                block = saying(db, table, word)
                next(block)
                with lock:
                    shared.append((block, word))
            if dice.random() < 0.6:
                end_one(dice)

    for task in [Task(work, seed) for seed in range(threads)]:
        task.outcome(30)
    while shared:
        end_one(random.Random(0))
    assert words(admin, table) == sorted(expected)
    assert len(expected) > 20
    assert in_use() == 0
