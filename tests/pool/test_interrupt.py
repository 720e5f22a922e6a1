"""Ctrl-C in the main thread's statement: the server cancels it, and ``KeyboardInterrupt`` comes at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg2.extensions import TRANSACTION_STATUS_ACTIVE
from sqlalchemy import text

from dbkit import DatabaseConnectionManager
from dbkit.pool import interrupting

from .helpers import Admin, at_rest, eventually
from .runtimes import Task

pytestmark = pytest.mark.filterwarnings("ignore:<psycopg.ServerCursor:ResourceWarning")
"""psycopg 3 does not close a cursor at the server whose statement was interrupted, and says so when it is collected."""

SLEEP = "SELECT pg_sleep(300)"
SOON = 30.0
"""Seconds within which it must come on the busiest machine; without us it takes 300."""


def session(db: Any) -> None:
    with db.session_scope() as opened:
        opened.execute(text(SLEEP))


def raw(db: Any) -> None:
    with db.raw_connection() as connection, connection.cursor() as cursor:
        cursor.execute(SLEEP)


def core(db: Any) -> None:
    with db.engine.begin() as connection:
        connection.execute(text(SLEEP))


ROADS: dict[str, Callable[[Any], Any]] = {
    "query": lambda db: db.execute_query(SLEEP),
    "stream": lambda db: list(db.stream_query(SLEEP)),
    "session": session,
    "raw": raw,
    "core": core,
}


@pytest.fixture(params=["psycopg2", "psycopg"])
def db(request: pytest.FixtureRequest, shared_database: str) -> Iterator[DatabaseConnectionManager]:
    url = shared_database.replace("postgresql://", f"postgresql+{request.param}://")
    with DatabaseConnectionManager(url, min_size=0, max_size=2, keepalive=None) as made:
        yield made


@contextmanager
def pressed(admin: Admin, pid: int) -> Iterator[list[float]]:
    """Ctrl-C is pressed once this server process sleeps; gives the moment."""
    moment: list[float] = []

    def press() -> None:
        asleep = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep' AND {}"
        eventually(lambda: admin.rows(asleep.format("clock_timestamp() - query_start > '0.1 s'"), pid))
        moment.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    pressing = Task(press)
    try:
        yield moment
    finally:
        pressing.join()


@pytest.mark.parametrize("road", ROADS)
def test_a_statement_is_cancelled(db: Any, admin: Admin, road: str) -> None:
    pid = db.execute_query("SELECT pg_backend_pid()").scalar()
    with pressed(admin, pid) as moment:
        with pytest.raises(KeyboardInterrupt):
            ROADS[road](db)
        took = time.monotonic() - moment[0]
        assert took < SOON
    eventually(lambda: not admin.rows("SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'", pid))
    at_rest(db.pool, in_use=0)
    again = db.execute_query("SELECT pg_backend_pid()").scalar()
    if db.pool.driver.name == "psycopg2":
        assert again != pid  # a cancel that came late would strike the next borrower


def test_a_server_that_does_not_answer_loses_the_connection(shared_database: str, admin: Admin) -> None:
    with DatabaseConnectionManager(shared_database, min_size=0, max_size=1) as db:
        pid = db.execute_query("SELECT pg_backend_pid()").scalar()
        asleep = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"

        def freeze() -> None:
            eventually(lambda: admin.rows(asleep, pid))
            os.kill(pid, signal.SIGSTOP)

        frozen = Task(freeze)
        try:
            with pressed(admin, pid) as moment, pytest.raises(KeyboardInterrupt):
                db.execute_query(SLEEP)
            assert time.monotonic() - moment[0] < SOON
            frozen.join()
        finally:
            os.kill(pid, signal.SIGCONT)
        assert db.execute_query("SELECT pg_backend_pid()").scalar() != pid


def test_over_a_socket_in_a_folder_too(server: Any, admin: Admin) -> None:
    with DatabaseConnectionManager(server.url("shared", socket=True), min_size=0) as db:
        pid = db.execute_query("SELECT pg_backend_pid()").scalar()
        with db.raw_connection() as connection:
            assert db.pool.driver.cancel(connection)
        with pressed(admin, pid) as moment, pytest.raises(KeyboardInterrupt):
            db.execute_query(SLEEP)
        assert time.monotonic() - moment[0] < SOON


def test_a_program_with_a_handler_of_its_own_finishes_its_statement(shared_database: str, admin: Admin) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        with DatabaseConnectionManager(shared_database, min_size=0) as db:
            pid = db.execute_query("SELECT pg_backend_pid()").scalar()
            with pressed(admin, pid):
                assert db.execute_query("SELECT 1 FROM pg_sleep(2)").scalar() == 1
            assert heard == [signal.SIGINT]
            assert db.execute_query("SELECT pg_backend_pid()").scalar() == pid
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_began_after_it_came_is_left_alone(shared_database: str) -> None:
    """It is what the program does after its ``KeyboardInterrupt``, however late Ctrl-C is heard."""
    with DatabaseConnectionManager(shared_database, min_size=0) as db:
        pid = db.execute_query("SELECT pg_backend_pid()").scalar()
        moment = time.monotonic()
        cancelling = Task(lambda: [interrupting.cancel_of_main_thread(db.pool, moment) for _ in range(20)])
        assert db.execute_query("SELECT 1 FROM pg_sleep(0.3)").scalar() == 1
        cancelling.outcome()
        assert db.execute_query("SELECT pg_backend_pid()").scalar() == pid


def test_what_began_shortly_before_it_came_is_cancelled(shared_database: str) -> None:
    struck: list[float] = []

    def press(connection: Any) -> None:
        eventually(lambda: connection.info.transaction_status == TRANSACTION_STATUS_ACTIVE)
        struck.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    with DatabaseConnectionManager(shared_database, min_size=0) as db:
        with pytest.raises(KeyboardInterrupt), db.raw_connection() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            pressing = Task(press, connection)
            with connection.cursor() as late:
                late.execute(SLEEP)
        pressing.outcome()
        assert time.monotonic() - struck[0] < SOON


def test_who_listens_already_goes_on_listening(shared_database: str) -> None:
    run(
        shared_database,
        """
        import signal, socket
        ears, mouth = socket.socketpair()
        mouth.setblocking(False)
        signal.set_wakeup_fd(mouth.fileno())
        for _ in range(3):
            with DatabaseConnectionManager(sys.argv[1], min_size=0) as db:
                db.execute_query("SELECT 1")
        signal.signal(signal.SIGUSR1, lambda *_: None)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert ears.recv(8) == bytes([signal.SIGUSR1])
        assert signal.set_wakeup_fd(-1) == mouth.fileno()
        """,
    )


def test_a_child_has_a_descriptor_of_its_own(shared_database: str) -> None:
    run(
        shared_database,
        """
        import signal, threading, time
        db = DatabaseConnectionManager(sys.argv[1], min_size=0)
        db.execute_query("SELECT 1")
        child = os.fork()
        if child == 0:
            faulthandler.dump_traceback_later(60, exit=True)
            assert signal.set_wakeup_fd(-1) == -1
            def press():
                while not db2.execute_query(
                    "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%of a child%'"
                ).all():
                    pass
                time.sleep(0.1)
                os.kill(os.getpid(), signal.SIGINT)
            db2 = DatabaseConnectionManager(sys.argv[1], min_size=0)
            thread = threading.Thread(target=press)
            thread.start()
            try:
                db.execute_query("SELECT pg_sleep(300) AS \\"of a child\\"")
            except KeyboardInterrupt:
                os._exit(7)
            os._exit(1)
        assert db.execute_query("SELECT 1 FROM pg_sleep(1)").scalar() == 1
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert db.stats().opens == 1
        """,
    )


def run(url: str, script: str) -> None:
    prologue = "import faulthandler, os, sys\nfrom dbkit import DatabaseConnectionManager\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", prologue + textwrap.dedent(script), url],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
