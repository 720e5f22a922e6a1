"""``dbkit top`` on a real terminal (a pty), and where there is none."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from dbkit import DatabaseConnectionManager
from dbkit.live import serve

from ..pool.test_failover import free_port

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
BOUND = 60.0


class Terminal:
    """A terminal of 80 by 24 with ``dbkit top`` on it."""

    def __init__(self, *arguments: str) -> None:
        self._here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._there = there
        self.before = termios.tcgetattr(there)
        environment = {**os.environ, "TERM": "xterm-256color"}
        environment = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dbkit", "top", *arguments],
            stdin=there, stdout=there, stderr=there, env=environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        self.seen = b""

    def wait_for(self, words: bytes) -> None:
        """Read until these words came, after whatever was waited for before."""
        deadline = monotonic() + BOUND
        while words not in self.seen:
            assert monotonic() < deadline, self.seen[-3000:]
            self._read()
        self.seen = self.seen.partition(words)[2]

    def press(self, keys: bytes) -> None:
        os.write(self._here, keys)

    def end(self) -> int:
        """Wait for the process to end; return its code."""
        deadline = monotonic() + BOUND
        while self.process.poll() is None:
            assert monotonic() < deadline, self.seen[-3000:]
            self._read()
        while self._read():
            pass
        return self.process.returncode

    def restored(self) -> bool:
        return termios.tcgetattr(self._there) == self.before and LEAVE in self.seen and b"Traceback" not in self.seen

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._here)
        os.close(self._there)

    def _read(self) -> bool:
        readable, _, _ = select.select([self._here], [], [], 0.1)
        if readable:
            self.seen += os.read(self._here, 65536)
        return bool(readable)


@pytest.fixture
def terminal() -> Iterator[object]:
    opened: list[Terminal] = []

    def open_one(*arguments: str) -> Terminal:
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def test_keys_work_and_the_terminal_is_as_it_was(terminal, shared_database, tmp_path_factory):
    path = tmp_path_factory.mktemp("t") / "s"
    with (
        DatabaseConnectionManager(shared_database, min_size=0, max_size=3) as db,
        serve(db, path),
        db.engine.begin() as held,
    ):
        held.exec_driver_sql("SELECT 1")
        top = terminal(shared_database, "--app", str(path), "--interval", "0.1")
        top.wait_for(ENTER)
        top.wait_for(b"holders of the pool")
        top.wait_for(threading.current_thread().name.encode())
        top.wait_for(b"sessions by oldest")
        top.press(b"a")
        top.wait_for(b"sessions by application")
        top.press(b"p")
        top.wait_for(b"paused")
        top.press(b"?")
        top.wait_for(b"look more often")
        top.press(b"\x1b[A")  # an arrow is not Escape
        top.press(b"?")
        top.wait_for(b"sessions by application")
        top.press(b"q")
        assert top.end() == 0
        assert top.restored()


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda top: top.press(b"\x03"), 0),
        (lambda top: top.process.send_signal(signal.SIGTERM), 128 + signal.SIGTERM),
        (lambda top: top.process.send_signal(signal.SIGHUP), 128 + signal.SIGHUP),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGHUP"],
)
def test_however_it_ends_the_terminal_is_as_it_was(terminal, shared_database, end, code):
    top = terminal(shared_database)
    top.wait_for(b" of 197")
    end(top)
    assert top.end() == code
    assert top.restored()


def test_a_server_that_is_not_there_is_said_and_the_keys_work(terminal):
    top = terminal(f"postgresql://app@127.0.0.1:{free_port()}/shop", "--interval", "0.1")
    top.wait_for(b"Connection refused")
    top.press(b"q")
    assert top.end() == 0
    assert top.restored()


# ---- no terminal


def test_without_a_terminal_it_looks_once(run, shared_database, tmp_path_factory):
    path = tmp_path_factory.mktemp("t") / "s"
    with DatabaseConnectionManager(shared_database, min_size=0) as db, serve(db, path, name="shop"):
        with db.engine.begin() as connection:
            connection.exec_driver_sql("SELECT 42 AS answer")
            ran = run("top", shared_database, "--app", path)
    assert ran.code == 0
    assert "\x1b" not in ran.out
    for words in ("dbkit top", "of 197", "1 in use", "SELECT 42 AS answer", "idle in transaction"):
        assert words in ran.out


def test_where_nobody_answers_the_code_tells(run, tmp_path):
    ran = run("top", f"postgresql://app@127.0.0.1:{free_port()}/shop", "--app", tmp_path / "none")
    assert ran.code == 1
    assert "Connection refused" in ran.out
    assert "does not answer" in ran.out


def test_who_blocks_whom_is_read_from_the_server(run, shared_database, admin):
    with DatabaseConnectionManager(shared_database, min_size=0) as db:
        db.execute_query("CREATE TABLE held (n int)")
        with db.engine.begin() as holder:
            holder.exec_driver_sql("LOCK TABLE held")
            waiting = threading.Thread(target=lambda: db.execute_query("SELECT count(*) FROM held /* waiter */"))
            waiting.start()
            deadline = monotonic() + BOUND
            while not admin.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):
                assert monotonic() < deadline
            ran = run("top", "--once", shared_database)
        waiting.join(BOUND)
        db.execute_query("DROP TABLE held")
    assert "who blocks whom" in ran.out
    assert "└─" in ran.out
    assert "/* waiter */" in ran.out
