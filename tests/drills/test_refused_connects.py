"""Drill 8: the server refuses to connect: too many (53300), not now (57P03), wrong password (28P01), no such database
(3D000). A pool that has worked waits where waiting may help; a new pool, and a refusal for good, are told at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import psycopg2
import pytest
from sqlalchemy import exc

from dbkit import PoolTimeoutError
from dbkit.embedded import EmbeddedPostgres

from ..pool.helpers import Task, eventually
from . import closing
from .closing import SLACK
from .conftest import MakeDrill
from .entrants import Ours, make_manager, params_of, turn
from .record import Drill

AT_ONCE = 1.0
"""Seconds within which somebody is told who is told at once: starting a process, hashing a password, some slack."""


@pytest.fixture(scope="module")
def own(memory_folder: str | None) -> Iterator[EmbeddedPostgres]:
    """Return a server with seven places for others than its superuser."""
    settings = {"max_connections": 10, "superuser_reserved_connections": 3}
    with EmbeddedPostgres.start(settings=settings, temp_dir=memory_folder) as running:
        running.execute("CREATE ROLE clerk LOGIN PASSWORD 'right'")
        running.execute("CREATE DATABASE ledger OWNER clerk")
        yield running


def login(server: EmbeddedPostgres) -> dict[str, Any]:
    return params_of(server) | {"user": "clerk", "password": "right", "dbname": "ledger"}


@contextmanager
def pool(server: EmbeddedPostgres, *, has_worked: bool, timeout: float = 20) -> Iterator[Ours]:
    """A pool without connections, which has worked before or not."""
    made = Ours(make_manager(login(server), timeout=timeout, min_size=0, max_size=2))
    if has_worked:
        turn(made)
        made.db.engine.dispose()
        made.pool = made.db.pool
        turn(made)  # the pool that dispose made, too
        made.pool.drain()
        made.pool.dispose()
        eventually(lambda: made.pool.stats().size == 0)
    try:
        yield made
        closing.check(made.pool)
    finally:
        made.close()


def told_at_once(record: Drill, case: str, ours: Ours, words: str) -> None:
    """A borrower gets the server's error without waiting."""
    began = monotonic()
    with pytest.raises(exc.OperationalError, match=words) as caught:
        turn(ours)
    took = monotonic() - began
    assert not isinstance(caught.value, PoolTimeoutError)
    record.row(f"{Ours.name}, {case}", {"told after, s": took})
    record.must(f"{case}: told after, s", took, most=AT_ONCE)


def served_when_possible(record: Drill, case: str, ours: Ours, mend: Any) -> None:
    """A borrower waits while it lasts, and is served soon after it is over."""
    task = Task(turn, ours)
    failures = ours.pool.stats().open_failures
    eventually(lambda: ours.pool.stats().open_failures >= failures + 2)
    assert task.is_alive()
    mend()
    mended = monotonic()
    task.outcome()
    took = monotonic() - mended
    record.row(f"{Ours.name}, {case}", {"served after it is over, s": took})
    record.must(f"{case}: served after it is over, s", took, most=0.6 + SLACK)


def test_too_many_connections(own: EmbeddedPostgres, drill: MakeDrill):
    record = drill(8, "refused connects", "53300, too many connections")
    with pool(own, has_worked=False) as new, pool(own, has_worked=True) as tried:
        with pool(own, has_worked=True, timeout=0.5) as hasty:
            others = []
            with pytest.raises(psycopg2.OperationalError):
                while True:
                    others.append(psycopg2.connect(**login(own) | {"application_name": "others"}))
            told_at_once(record, "a new pool", new, "connection slots|too many")
            with pytest.raises(PoolTimeoutError, match="cannot be reached"):
                turn(hasty)

        def leave() -> None:
            for other in others:
                other.close()

        served_when_possible(record, "a pool that has worked", tried, leave)


def test_a_server_that_shuts_down(own: EmbeddedPostgres, drill: MakeDrill):
    record = drill(8, "refused connects", "57P03, shutting down, then starting")
    with pool(own, has_worked=False) as new, pool(own, has_worked=True) as tried:
        last = psycopg2.connect(**login(own) | {"application_name": "others"})
        stopping = Task(own.stop, "smart")  # it waits for the last one
        eventually(lambda: refuses(own, "shutting down"))
        told_at_once(record, "a new pool", new, "shutting down")

        def come_back() -> None:
            last.close()
            stopping.outcome()
            own.start_again()

        served_when_possible(record, "a pool that has worked", tried, come_back)


def refuses(server: EmbeddedPostgres, words: str) -> bool:
    """Whether the server turns newcomers away with these words."""
    try:
        psycopg2.connect(**login(server)).close()
    except psycopg2.OperationalError as error:
        return words in str(error)
    return False


@pytest.mark.parametrize("has_worked", (False, True))
def test_a_wrong_password(own: EmbeddedPostgres, drill: MakeDrill, has_worked: bool):
    record = drill(8, "refused connects", "28P01, wrong password")
    with pool(own, has_worked=has_worked) as ours:
        own.execute("ALTER ROLE clerk PASSWORD 'changed'")
        try:
            told_at_once(
                record, "worked before" if has_worked else "a new pool", ours, "password authentication failed"
            )
        finally:
            own.execute("ALTER ROLE clerk PASSWORD 'right'")
        turn(ours)


@pytest.mark.parametrize("has_worked", (False, True))
def test_no_such_database(own: EmbeddedPostgres, drill: MakeDrill, has_worked: bool):
    record = drill(8, "refused connects", "3D000, no such database")
    with pool(own, has_worked=has_worked) as ours:
        own.execute("ALTER DATABASE ledger RENAME TO elsewhere")
        try:
            told_at_once(record, "worked before" if has_worked else "a new pool", ours, "does not exist")
        finally:
            own.execute("ALTER DATABASE elsewhere RENAME TO ledger")
        turn(ours)
