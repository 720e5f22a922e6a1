"""A server process that is frozen in mid-query: the caller is free shortly after its time, and the pool is whole."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import exc, text

from dbkit import CommitOutcomeUnknown, DatabaseConnectionManager, DeadlineExceeded
from dbkit.drivers.bounded import bounded, for_text, given_up
from dbkit.runtime import waits

from ..pool.helpers import Admin, Task, at_rest, eventually

pytestmark = pytest.mark.filterwarnings("ignore:<psycopg.ServerCursor:ResourceWarning")
"""psycopg 3 cannot close a cursor at the server whose connection is lost, and says so when it is collected."""

SECONDS = 2.0
SLEEP = "SELECT pg_sleep(1000)"


def in_scope(db: Any, **options: Any) -> None:
    with db.session_scope(**options) as session:
        session.execute(text(SLEEP))


def raw(db: Any) -> None:
    with db.raw_connection() as connection, connection.cursor() as cursor:
        cursor.execute(SLEEP)


def core(db: Any) -> None:
    with db.engine.begin() as connection:
        connection.execute(text(SLEEP))


def swallowed(db: Any) -> None:
    with db.session_scope() as session:
        try:
            session.execute(text(SLEEP))
        except exc.DBAPIError:
            session.rollback()
            raise


WITHIN_A_DEADLINE: dict[str, Callable[[Any], Any]] = {
    "query": lambda db: db.execute_query(SLEEP),
    "expression": lambda db: db.execute_query(text(SLEEP)),
    "many": lambda db: db.execute_query("SELECT pg_sleep(:s)", [{"s": 1000}]),
    "stream": lambda db: list(db.stream_query("SELECT pg_sleep(1000) FROM generate_series(1, 2)")),
    "session": in_scope,
    "swallowed": swallowed,
    "core": core,
    "raw": raw,
}

WITH_A_TIMEOUT: dict[str, Callable[[Any], Any]] = {
    "query": lambda db: db.execute_query(SLEEP, timeout=SECONDS),
    "expression": lambda db: db.execute_query(text(SLEEP), timeout=SECONDS),
    "session": lambda db: in_scope(db, timeout=SECONDS),
    "session with settings": lambda db: in_scope(db, timeout=SECONDS, settings={"app.x": "1"}),
}


class Freezer:
    """Freezes a manager's only server process as soon as it sleeps in a statement."""

    def __init__(self, db: Any, admin: Admin) -> None:
        self.pid = db.execute_query("SELECT pg_backend_pid()").scalar()
        self._task = Task(self._freeze, admin)

    def _freeze(self, admin: Admin) -> None:
        asleep = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        eventually(lambda: admin.rows(asleep, self.pid))
        os.kill(self.pid, signal.SIGSTOP)

    def __enter__(self) -> Freezer:
        return self

    def __exit__(self, *_: object) -> None:
        self._task.join()
        os.kill(self.pid, signal.SIGCONT)


def whole(db: Any, before: int) -> None:
    at_rest(db.pool, in_use=0)
    assert db.execute_query("SELECT pg_backend_pid()").scalar() != before
    assert db.stats().size == 1


def a_deadline(db: Any, admin: Admin, road: str) -> None:
    """On this road a deadline frees the caller."""
    with Freezer(db, admin) as frozen:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="given up") as caught, db.deadline(SECONDS):
            WITHIN_A_DEADLINE[road](db)
        took = time.monotonic() - began
        assert SECONDS < took < SECONDS + 5, took
        assert caught.value.__cause__ is not None
        assert caught.value.spent.statements > SECONDS / 2 or road == "raw"
        whole(db, frozen.pid)


def a_timeout(db: Any, admin: Admin, road: str) -> None:
    """On this road a statement's or a session's ``timeout`` does."""
    with Freezer(db, admin) as frozen:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="timeout of 2 s is past") as caught:
            WITH_A_TIMEOUT[road](db)
        took = time.monotonic() - began
        assert SECONDS < took < SECONDS + 5, took
        assert isinstance(caught.value.__cause__, exc.DBAPIError)
        whole(db, frozen.pid)


def a_copy(db: Any, _: Admin, table: str) -> None:
    def slow(pid: int) -> Any:
        yield (1, "x")
        os.kill(pid, signal.SIGSTOP)
        yield (2, "y")

    db.execute_query(f"CREATE TABLE {table} (id integer PRIMARY KEY, name text)")
    pid = db.execute_query("SELECT pg_backend_pid()").scalar()
    try:
        with pytest.raises(DeadlineExceeded, match="given up"), db.deadline(SECONDS):
            db.copy_rows(table, slow(pid))
    finally:
        os.kill(pid, signal.SIGCONT)
    whole(db, pid)
    assert db.execute_query(f"SELECT count(*) FROM {table}").scalar() == 0
    db.execute_query(f"DROP TABLE {table}")


def a_commit(db: Any, _: Admin, table: str) -> None:
    """It has no known outcome."""
    db.execute_query(f"CREATE TABLE {table} (id integer PRIMARY KEY, name text)")
    pid = db.execute_query("SELECT pg_backend_pid()").scalar()
    try:
        with pytest.raises(CommitOutcomeUnknown), db.deadline(SECONDS), db.session_scope() as session:
            session.execute(text(f"INSERT INTO {table} VALUES (1, 'x')"))
            os.kill(pid, signal.SIGSTOP)
    finally:
        os.kill(pid, signal.SIGCONT)
    whole(db, pid)
    db.execute_query(f"DROP TABLE {table}")


CASES: dict[str, tuple[Callable[[Any, Admin, str], None], str]] = {
    **{f"deadline-{road}": (a_deadline, road) for road in WITHIN_A_DEADLINE},
    **{f"timeout-{road}": (a_timeout, road) for road in WITH_A_TIMEOUT},
    "copy": (a_copy, "frozen_copy"),
    "commit": (a_commit, "frozen_commit"),
}


@pytest.fixture(scope="module")
def under_way(shared_database: str) -> Iterator[dict[tuple[str, str], Task]]:
    """Every case with every driver, begun together: each does little but wait for its own seconds to pass."""
    admin = Admin(shared_database)

    def one(driver: str, case: str) -> None:
        act, given = CASES[case]
        url = shared_database.replace("postgresql://", f"postgresql+{driver}://")
        db = DatabaseConnectionManager(url, min_size=0, max_size=1, timeout=60, keepalive=None)
        act(db, admin, f"{given}_{driver}" if given.startswith("frozen") else given)
        assert db.close_connections() == ()

    tasks = {(driver, case): Task(one, driver, case) for driver in ("psycopg2", "psycopg") for case in CASES}
    yield tasks
    for task in tasks.values():
        task.join()
    admin.close()


@pytest.mark.parametrize("case", CASES)
def test_the_caller_is_free_after_its_time(under_way: dict[tuple[str, str], Task], driver: str, case: str) -> None:
    under_way[driver, case].outcome()


def test_statements_that_are_answered_are_left_alone(db: Any, admin: Admin) -> None:
    pid = db.execute_query("SELECT pg_backend_pid()").scalar()
    for _ in range(3):
        with db.deadline(0.05), pytest.raises(DeadlineExceeded, match="server stopped"):
            db.execute_query(SLEEP)
        with db.deadline(1000):
            db.execute_query("SELECT 1")
        with pytest.raises(exc.DBAPIError, match="division"), db.deadline(0.1):
            db.execute_query("SELECT 1/0")
    gone = time.monotonic() + 0.3  # all of their moments are past then
    eventually(lambda: time.monotonic() > gone)
    assert db.execute_query("SELECT pg_backend_pid()").scalar() == pid
    assert db.stats().opens == 1


def test_a_wait_that_was_kept_from_ending_does_not_strike_the_next_borrower(db: Any) -> None:
    """An exception from outside may fall between the last line of a wait and its end."""
    with db.engine.connect() as connection:
        raw_connection = connection.connection.dbapi_connection
        with db.deadline(0.05):
            left = bounded(db.pool.driver, raw_connection)
            left.__enter__()  # and no __exit__
    with db.engine.connect() as connection:
        assert connection.connection.dbapi_connection is raw_connection
        gone = time.monotonic() + 0.3
        eventually(lambda: time.monotonic() > gone)
        assert connection.scalar(text("SELECT 1")) == 1
    assert left._wait is not None
    assert not left._wait.given_up


def test_a_borrower_may_take_its_time_between_two_statements(db: Any) -> None:
    with db.raw_connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    with db.deadline(0.05), db.raw_connection() as connection:
        gone = time.monotonic() + 0.3
        eventually(lambda: time.monotonic() > gone)
    assert db.execute_query("SELECT pg_backend_pid()").scalar() == pid


def test_each_of_many_statements_has_the_timeout(db: Any) -> None:
    with db.session_scope(timeout=1.2) as session:  # each takes 0.5 s, and all together longer than that
        session.execute(text("SELECT pg_sleep(0.5); SELECT pg_sleep(0.5); SELECT pg_sleep(0.5)"))
        session.execute(text("SELECT pg_sleep(CAST(:s AS float))"), [{"s": 0.5}] * 3)
    assert db.stats().opens == 1
    assert for_text("SELECT 1; ", 2) == 2
    assert for_text("SELECT 1; SELECT 2", 2) == 4
    assert for_text("SELECT 1", None) is None


def test_nothing_is_kept_of_waits_that_are_over(db: Any) -> None:
    for _ in range(50):
        with db.deadline(1000):
            db.execute_query("SELECT 1")
    gc.collect()
    assert not waits._waits._under_way
    assert given_up(None) is None
