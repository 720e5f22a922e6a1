"""``ConnectionPool``: its document's examples as they stand there, and each of its promises."""

from __future__ import annotations

import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest

from dbkit.dropin.connection_pool import ConnectionPool
from dbkit.dropin.errors import ClosedError, NoConnectionError, NotLentError
from dbkit.errors import SettingsError
from dbkit.pool import lending

from ..pool.helpers import Admin, Task, eventually, in_line, unique
from .conftest import execute
from .documents import block

# ---- the document


class Executing(psycopg2.extensions.connection):
    """A psycopg2 connection with the method that the document's examples call."""

    def execute(self, query: str) -> Any:
        with self.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else cursor.rowcount


class Server:
    """A ``database`` whose connections are psycopg2's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = unique("dropin")

    def create_connection(self) -> Any:
        return psycopg2.connect(self.url, application_name=self.name, connection_factory=Executing)


def documents_code(monkeypatch: pytest.MonkeyPatch, luck: float | None) -> dict[str, Any]:
    """Return the document's mock database and its examples; with ``luck``, its dice always fall like that."""
    if luck is not None:
        monkeypatch.setattr(random, "random", lambda: luck)
    code = {"__name__": "document", "threading": threading, "ConnectionPool": ConnectionPool}
    exec(block("001", "class MockDatabase:"), code)
    exec(block("001", "def example_basic_usage():"), code)
    return code


EXAMPLES = {
    "example_basic_usage": "Query result: ",
    "example_context_manager": "Connection automatically returned to pool",
    "example_concurrent_usage": "Final pool stats: {'total_connections': ",
    "example_pool_exhaustion": "Expected error: Timeout waiting for connection (1.0s)",
}


NEVER_HEALTHY, AS_IT_COMES = 0.0, None


@pytest.mark.parametrize(
    ("example", "luck"),
    [
        *((example, AS_IT_COMES) for example in EXAMPLES),
        *((example, NEVER_HEALTHY) for example in list(EXAMPLES)[:3]),
    ],
)
def test_the_documents_examples(monkeypatch: pytest.MonkeyPatch, capsys: Any, example: str, luck: float | None):
    code = documents_code(monkeypatch, luck)
    code[example]()
    out = capsys.readouterr().out
    assert EXAMPLES[example] in out
    if example == "example_concurrent_usage":
        assert out.count("Worker ") == 9
    if example == "example_basic_usage":
        assert re.search(r"Query result: Result from connection \d+: SELECT \* FROM users", out)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_documents_examples_on_a_real_server(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, database: str, example: str
):
    execute(
        database,
        "CREATE TABLE users (id integer, name text); CREATE TABLE data (worker integer, query integer);"
        "INSERT INTO users VALUES (7, 'Ada')",
    )
    code = documents_code(monkeypatch, None)
    code["MockDatabase"] = lambda: Server(database)
    code[example]()
    out = capsys.readouterr().out
    assert EXAMPLES[example] in out
    if example == "example_basic_usage":
        assert "Query result: [(7, 'Ada')]" in out


# ---- the same in our own words


class Conn:
    """A connection as the document's: does what the test says, and notes what is done to it."""

    def __init__(self, database: Db, number: int) -> None:
        self.database = database
        self.number = number
        self.is_open = False
        self.healthy: Any = True
        self.asked = 0
        self.closes = 0
        self.lent = False
        self.using = threading.Lock()

    def connect(self) -> None:
        assert not self.is_open
        self.database.connecting()
        self.is_open = True

    def close(self) -> None:
        self.closes += 1
        assert self.is_open, "closed twice"
        self.is_open = False
        self.database.closing()

    def is_healthy(self) -> bool:
        with self.alone():
            assert not self.lent, "somebody else is at work on it"
            self.asked += 1
            if isinstance(self.healthy, BaseException):
                raise self.healthy
            return self.healthy() if callable(self.healthy) else self.healthy

    def execute(self, query: str) -> str:
        with self.alone():
            assert self.is_open
            return f"{self.number}: {query}"

    def alone(self) -> Any:
        assert self.using.acquire(blocking=False), "two are at work on it"
        self.using.release()
        return self.using


class Db:
    """A ``database`` of such connections."""

    def __init__(self) -> None:
        self.made: list[Conn] = []
        self.connecting: Callable[[], Any] = lambda: None
        self.closing: Callable[[], Any] = lambda: None
        self.healthy: Any = True

    def create_connection(self) -> Conn:
        conn = Conn(self, len(self.made) + 1)
        conn.healthy = self.healthy
        self.made.append(conn)
        return conn

    def open(self) -> list[int]:
        return [conn.number for conn in self.made if conn.is_open]


@pytest.fixture
def db() -> Db:
    return Db()


@pytest.fixture
def make(db: Db) -> Iterator[Callable[..., ConnectionPool]]:
    """Return what makes pools on ``db``; at the end they are closed, and nothing of theirs may be open."""
    pools: list[ConnectionPool] = []

    def make(**arguments: Any) -> ConnectionPool:
        pools.append(ConnectionPool(db, **{"min_size": 0, "max_size": 2, "timeout": 10, **arguments}))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()
    eventually(lambda: not db.open())


def numbers(pool: ConnectionPool) -> tuple[int, int, int]:
    stats = pool.get_stats()
    return stats["total_connections"], stats["available_connections"], stats["in_use_connections"]


def next_of(pool: ConnectionPool) -> int:
    """Return the number of the connection that the pool lends next."""
    with pool.connection() as conn:
        number: int = conn.number
    return number


def test_what_is_lent_is_the_users_own_connection(make: Callable[..., ConnectionPool], db: Db):
    pool = make()
    conn = pool.acquire()
    assert conn.number == 1
    assert conn.is_open
    assert isinstance(conn, Conn)
    assert conn.execute("hello") == "1: hello"
    conn.remark = "mine"
    assert vars(db.made[0])["remark"] == "mine"
    pool.release(conn)
    with pytest.raises(psycopg2.InterfaceError, match="given back"):
        conn.execute("too late")
    with pool.connection(timeout=1) as again:
        assert again.number == 1
        assert numbers(pool) == (1, 0, 1)
    assert numbers(pool) == (1, 1, 0)


def test_its_attributes_and_its_numbers(make: Callable[..., ConnectionPool], db: Db):
    pool = make(min_size=1, max_size=3)
    assert (pool.database, pool.min_size, pool.max_size, pool.max_idle_time, pool.timeout) == (db, 1, 3, 300.0, 10)
    assert pool.get_stats() == {
        "total_connections": 1,
        "available_connections": 1,
        "in_use_connections": 0,
        "max_size": 3,
        "min_size": 1,
        "closed": False,
    }


def test_numbers_that_make_no_sense_are_refused_by_their_own_names(db: Db):
    with pytest.raises(SettingsError) as caught:
        ConnectionPool(db, min_size=-1, max_size=0, max_idle_time=0, timeout=float("nan"))
    assert [fault.key for fault in caught.value.faults] == ["min_size", "max_size", "timeout", "max_idle_time"]
    with pytest.raises(SettingsError, match="above max_size"):
        ConnectionPool(db, min_size=3, max_size=2)
    assert not db.made


def test_the_first_connections_are_opened_at_once_and_in_parallel(make: Callable[..., ConnectionPool], db: Db):
    all_three = threading.Barrier(3)
    db.connecting = lambda: all_three.wait(10)
    assert numbers(make(min_size=3, max_size=3)) == (3, 3, 0)


def test_if_one_of_the_first_cannot_be_opened_nothing_stays_open(make: Callable[..., ConnectionPool], db: Db):
    class Refused(Exception):
        pass

    both = threading.Barrier(2)

    def connecting() -> None:
        if both.wait(10) == 0:
            raise Refused("not today")

    db.connecting = connecting
    with pytest.raises(Refused, match="not today"):
        make(min_size=2)
    eventually(lambda: len(db.made) == 2 and not db.open())


def test_if_the_first_are_not_open_in_time_it_is_a_timeout(make: Callable[..., ConnectionPool], db: Db):
    gate = threading.Event()
    db.connecting = lambda: gate.wait(10)
    with pytest.raises(NoConnectionError, match=r"^Timeout waiting for connection \(0\.05s\)"):
        make(min_size=1, timeout=0.05)
    gate.set()
    eventually(lambda: db.made[0].closes == 1)


def test_a_connect_that_fails_later_is_told_and_leaves_the_pool_well(make: Callable[..., ConnectionPool], db: Db):
    pool = make(min_size=1)
    first = pool.acquire()

    def refuse() -> None:
        raise KeyError("no such host")

    db.connecting = refuse
    with pytest.raises(KeyError, match="no such host"):
        pool.acquire()
    db.connecting = lambda: None
    pool.release(pool.acquire())
    pool.release(first)


def test_a_connect_that_fails_half_way_is_closed(db: Db):
    class Half(Conn):
        def connect(self) -> None:
            super().connect()
            raise OSError("no such database")

    db.create_connection = lambda: db.made.append(Half(db, 1)) or db.made[-1]  # type: ignore
    with pytest.raises(OSError, match="no such database"):
        ConnectionPool(db, min_size=1)
    assert [conn.closes for conn in db.made] == [1]


# ---- health


def test_one_that_is_not_healthy_when_it_comes_back_is_replaced(make: Callable[..., ConnectionPool], db: Db):
    pool = make(min_size=1)
    conn = pool.acquire()
    db.made[0].healthy = False
    pool.release(conn)
    eventually(lambda: db.open() == [2])
    assert next_of(pool) == 2


@pytest.mark.parametrize("how", ["unhealthy", "failing", "closed by somebody"])
def test_one_that_goes_bad_while_idle_is_replaced_before_it_is_lent(
    make: Callable[..., ConnectionPool], db: Db, how: str, caplog: Any
):
    pool = make(min_size=2)
    bad = db.made[:2]
    for conn in bad:
        conn.healthy = {"unhealthy": False, "failing": OSError("gone")}.get(how, True)
        conn.is_open = how != "closed by somebody"
    lent = [pool.acquire(), pool.acquire()]
    assert sorted(conn.number for conn in lent) == [3, 4]
    for conn in lent:
        pool.release(conn)
    eventually(lambda: [conn.closes for conn in bad] == [int(how != "closed by somebody")] * 2)
    assert ("could not tell whether it is healthy" in caplog.text) == (how == "failing")


def test_one_found_unfit_once_is_not_trusted_again(make: Callable[..., ConnectionPool], db: Db):
    pool = make(min_size=1, max_size=1)
    answers = iter([False])
    db.made[0].healthy = lambda: next(answers, True)  # says no, and then yes for ever
    assert next_of(pool) == 2


def test_a_database_that_calls_everything_unhealthy_gives_connections_all_the_same(
    make: Callable[..., ConnectionPool], db: Db
):
    db.healthy = False
    pool = make(min_size=2)
    seen = []
    for _ in range(5):
        with pool.connection() as conn:
            seen.append(conn.number)
    assert len(set(seen)) == 5
    assert numbers(pool)[2] == 0


def test_health_is_asked_of_nobody_elses_connection(make: Callable[..., ConnectionPool], db: Db):
    """``is_healthy()`` may be a query: never while another is at work on it. Nor is a connection in two hands."""
    dice = random.Random(4)
    db.healthy = lambda: dice.random() > 0.3
    pool = make(min_size=2, max_size=4, max_idle_time=0.02)
    until = time.monotonic() + 0.4

    def work(seed: int) -> int:
        mine, done = random.Random(seed), 0
        while time.monotonic() < until:
            with pool.connection() as conn:
                with conn.alone():
                    assert not conn.lent
                    conn.lent = True
                for _ in range(mine.randrange(20)):
                    conn.execute("x")
                conn.lent = False
            done += 1
            total, available, in_use = numbers(pool)
            assert total == available + in_use <= 4
        return done

    assert sum(task.outcome() for task in [Task(work, seed) for seed in range(8)]) > 100
    assert numbers(pool)[2] == 0
    assert all(conn.closes <= 1 for conn in db.made)


# ---- idle for too long


def test_idle_connections_expire_and_are_replaced_also_below_the_minimum(make: Callable[..., ConnectionPool], db: Db):
    pool = make(min_size=2, max_idle_time=0.05)
    eventually(lambda: len(db.made) >= 6 and not db.made[0].is_open and not db.made[1].is_open)
    assert next_of(pool) > 2
    eventually(lambda: numbers(pool)[0] >= 2)


def test_a_surplus_that_expires_is_closed(make: Callable[..., ConnectionPool], db: Db):
    pool = make(min_size=0, max_size=3, max_idle_time=0.05)
    conns = [pool.acquire() for _ in range(3)]
    for conn in conns:
        pool.release(conn)
    eventually(lambda: numbers(pool) == (0, 0, 0) and not db.open())
    assert len(db.made) == 3


def test_one_that_is_out_does_not_expire(make: Callable[..., ConnectionPool], db: Db):
    pool = make(min_size=1, max_size=2, max_idle_time=0.05)
    conn = pool.acquire()
    other = pool.acquire()
    pool.release(other)
    eventually(lambda: not db.made[1].is_open)  # so as much time has passed
    assert conn.execute("still here") == "1: still here"
    pool.release(conn)
    assert next_of(pool) == 1


# ---- a full pool, and what is refused


def patient_holder(pool: ConnectionPool, has_it: threading.Event, let_go: threading.Event) -> None:
    with pool.connection():
        has_it.set()
        let_go.wait(10)


def test_a_full_pool_waits_and_then_names_the_holders(make: Callable[..., ConnectionPool]):
    pool = make(max_size=1)
    has_it, let_go = threading.Event(), threading.Event()
    holder = Task(patient_holder, pool, has_it, let_go, name="the-holder")
    assert has_it.wait(10)
    with pytest.raises(RuntimeError, match=r"^Timeout waiting for connection \(0\.05s\)") as caught:
        pool.acquire(timeout=0.05)
    assert isinstance(caught.value, NoConnectionError)
    assert "the-holder" in str(caught.value)
    assert "patient_holder" in str(caught.value)
    waiter = Task(pool.acquire)
    in_line(pool._pool, 1)
    let_go.set()
    holder.outcome()
    pool.release(waiter.outcome())
    pool.timeout = 0.02
    with pool.connection(), pytest.raises(NoConnectionError, match=r"\(0\.02s\)"):
        pool.acquire()


def test_what_is_not_lent_is_refused(make: Callable[..., ConnectionPool], db: Db):
    pool, other = make(), make()
    conn = pool.acquire()
    with pytest.raises(NotLentError, match="it stays lent"):
        other.release(conn)
    with pytest.raises(NotLentError, match="never lent this Conn"):
        pool.release(db.made[0])
    with pytest.raises(NotLentError):
        pool.release(None)
    pool.release(conn)
    with pool.connection() as again:
        with pytest.raises(RuntimeError, match="given back already"):
            pool.release(conn)
        assert again.execute("unharmed") == "1: unharmed"


def test_a_block_that_raises_gives_its_connection_back(make: Callable[..., ConnectionPool]):
    pool = make()
    with pytest.raises(KeyboardInterrupt), pool.connection():
        raise KeyboardInterrupt
    assert numbers(pool) == (1, 1, 0)


# ---- the end


def test_closing_does_not_wait_and_what_is_out_is_closed_when_it_comes_back(
    make: Callable[..., ConnectionPool], db: Db, caplog: Any
):
    caplog.set_level("INFO", "dbkit.dropin")
    pool = make(min_size=2, max_size=2)
    conn = pool.acquire()
    began = time.monotonic()
    pool.close()
    pool.close()
    assert time.monotonic() - began < 2  # the pool's own close() would wait five seconds, twice
    assert db.open() == [conn.number]
    assert pool.get_stats()["closed"]
    assert numbers(pool) == (1, 0, 1)
    assert conn.execute("finishing") == f"{conn.number}: finishing"
    pool.release(conn)
    eventually(lambda: not db.open() and numbers(pool) == (0, 0, 0))
    for borrow in (pool.acquire, pool.connection().__enter__):
        with pytest.raises(RuntimeError, match=r"^Connection pool is closed") as caught:
            borrow()
        assert isinstance(caught.value, ClosedError)
    assert [record.message for record in caplog.records if record.name == "dbkit.dropin"] == [
        "Initialized connection pool (min=2, max=2)",
        "Connection pool closed (1 connections still out)",
    ]


def test_whoever_waits_when_it_is_closed_is_told(make: Callable[..., ConnectionPool]):
    pool = make(max_size=1)
    conn = pool.acquire()
    waiter = Task(pool.acquire)
    in_line(pool._pool, 1)
    pool.close()
    with pytest.raises(ClosedError, match=r"^Connection pool is closed"):
        waiter.outcome()
    pool.release(conn)


@pytest.mark.parametrize("before", ["release", "close"])
def test_a_close_that_raises_harms_nothing(make: Callable[..., ConnectionPool], db: Db, before: str):
    def fail() -> None:
        raise RuntimeError("already closed, says the server")

    db.closing = fail
    pool = make(min_size=2)
    if before == "release":
        conn = pool.acquire()
        db.made[conn.number - 1].healthy = False
        pool.release(conn)
        eventually(lambda: numbers(pool) == (2, 2, 0))
    conn = pool.acquire()
    closed = db.made[conn.number - 1]
    conn.is_open = False  # its borrower closed it
    pool.release(conn)
    pool.release(pool.acquire())
    assert closed.closes == 0
    pool.close()
    eventually(lambda: numbers(pool) == (0, 0, 0))
    assert all(conn.closes <= 1 for conn in db.made)


# ---- DB-API connections


@pytest.fixture
def pool(shared_database: str) -> Iterator[ConnectionPool]:
    """A pool of psycopg2's connections, one at most."""
    made = ConnectionPool(Server(shared_database), min_size=1, max_size=1, timeout=10)
    yield made
    made.close()
    assert numbers(made) == (0, 0, 0)


def test_what_was_not_committed_is_rolled_back_and_manners_are_restored(pool: ConnectionPool):
    with pool.connection() as conn:
        pid = conn.get_backend_pid()
        conn.execute("CREATE TEMPORARY TABLE t (n integer)")
        conn.commit()
        conn.execute("INSERT INTO t VALUES (1)")
    with pool.connection() as conn:
        assert conn.get_backend_pid() == pid
        assert conn.execute("SELECT * FROM t") == []
        conn.rollback()
        conn.autocommit = True
    with pool.connection() as conn:
        assert conn.get_backend_pid() == pid
        assert not conn.autocommit


@pytest.mark.parametrize("when", ["idle", "out", "closed by its borrower"])
def test_a_session_that_was_lost_is_replaced(
    pool: ConnectionPool, admin: Admin, monkeypatch: pytest.MonkeyPatch, when: str
):
    monkeypatch.setattr(lending, "FRESH", 0)
    with pool.connection() as conn:
        pid = conn.get_backend_pid()
        if when == "out":
            admin.kill(pid)
        elif when != "idle":
            conn.close()
    if when == "idle":
        admin.kill(pid)
    with pool.connection() as conn:
        assert conn.execute("SELECT 1") == [(1,)]
        assert conn.get_backend_pid() != pid


def test_a_notice_from_the_server_is_no_reason_to_replace_it(
    pool: ConnectionPool, admin: Admin, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lending, "FRESH", 0)
    channel = unique("news")
    with pool.connection() as conn:
        pid = conn.get_backend_pid()
        conn.execute(f"LISTEN {channel}")
        conn.commit()
        slot = next(iter(pool._pool._ledger.slots))
    admin.rows(f"NOTIFY {channel}")
    eventually(lambda: not slot.peek.quiet())
    with pool.connection() as conn:
        assert conn.get_backend_pid() == pid
        assert [notify.channel for notify in conn.notifies] == [channel]


def test_a_forked_child_goes_on_using_the_pool(shared_database: str):
    script = """
import os, sys, psycopg2
from dbkit.dropin.connection_pool import ConnectionPool

class Server:
    def create_connection(self):
        return psycopg2.connect(sys.argv[1])

pool = ConnectionPool(Server(), min_size=1, max_size=2, timeout=10)
conn = pool.acquire()
pid = conn.get_backend_pid()
cursor = conn.cursor()
cursor.execute("CREATE TEMPORARY TABLE t AS SELECT 1")
child = os.fork()
if child == 0:
    try:
        with pool.connection() as own:
            assert own.get_backend_pid() != pid
            own.cursor().execute("SELECT 1")
        pool.release(conn)  # the parent's: nothing happens to it
        pool.close()
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
cursor.execute("SELECT * FROM t")  # neither rolled back nor committed
assert conn.get_transaction_status() == 2
pool.release(conn)
pool.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, shared_database], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_sqlite(tmp_path: Any):
    class Lite:
        def create_connection(self) -> sqlite3.Connection:
            return sqlite3.connect(tmp_path / "db", check_same_thread=False)

    pool = ConnectionPool(Lite(), min_size=1, max_size=3)
    try:
        with pool.connection() as conn:
            conn.execute("CREATE TABLE t (n integer)")
            conn.execute("INSERT INTO t VALUES (1)")
            conn.commit()
            conn.execute("INSERT INTO t VALUES (2)")
        with pool.connection() as conn:
            assert conn.execute("SELECT n FROM t").fetchall() == [(1,)]
    finally:
        pool.close()


def test_a_rollback_that_fails_discards_the_connection(caplog: Any):
    class Sulking(Conn):
        def rollback(self) -> None:
            raise OSError("lost")

    db = Db()
    db.create_connection = lambda: db.made.append(Sulking(db, len(db.made) + 1)) or db.made[-1]  # type: ignore
    pool = ConnectionPool(db, min_size=0, max_size=1)
    with pool.connection() as conn:
        assert conn.number == 1
    with pool.connection() as conn:
        assert conn.number == 2
    assert db.made[0].closes == 1
    assert "could not be rolled back" in caplog.text
    pool.close()
