"""Drills inside processes: forks, crowds, a soak, a frozen server, Ctrl-C, a migrator that is killed.

Of drills 11 to 18 much stands elsewhere in the suite, and is not written twice: ``tests/pool/test_fork.py`` and
``tests/runtime/test_forks.py`` (11), ``tests/pool/test_leaks.py`` (12), ``tests/pool/test_interrupted.py`` (13),
``tests/pool/test_pool_close.py`` (14), ``tests/pool/test_leak_soak.py`` (15), ``tests/pool/test_interrupt.py`` and
``tests/pool/test_borrow_timeout.py`` (17), ``tests/migrate/test_ended.py`` and ``test_on_start.py`` (18), and
``tests/session/test_frozen_server.py`` (6).
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from dbkit import DatabaseConnectionManager, DeadlineExceeded

from ..migrate.conftest import write_revision
from ..pool.helpers import Admin, Task, eventually
from .forms import by_form

ROOT = Path(__file__).parents[2]


def run(*arguments: str, seconds: float) -> str:
    options = ("-X", "faulthandler", "-W", "ignore::DeprecationWarning", "-m", "tests.drills.programs")
    command = [sys.executable, *options, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    return done.stdout


def figure(name: str, said: str) -> float:
    found = re.search(rf"{name} (-?[\d.]+)", said)
    assert found is not None, said
    return float(found[1])


def test_multiprocessing_in_three_ways(shared_database: str, drill: Any) -> None:
    run("methods", shared_database, seconds=200)
    drill(11, "forked children", "multiprocessing: fork, spawn, forkserver").row("ElasticPool", {"failures": 0})


APPLICATION = """
import os
from dbkit import DatabaseConnectionManager

db = DatabaseConnectionManager(os.environ["DATABASE_URL"], min_size=1, max_size=3)
before = db.execute_query("SELECT pg_backend_pid()").scalar()

def application(environ, start_response):
    pid = db.execute_query("SELECT pg_backend_pid()").scalar()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {pid} {pid == before}".encode()]
"""


def test_gunicorn_with_threads_and_preload(shared_database: str, tmp_path: Path, drill: Any) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "preloaded.py").write_text(APPLICATION)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = ["--preload", "--worker-class", "gthread", "--workers", "2", "--threads", "4"]
    command = [sys.executable, "-m", "gunicorn", *options, "--bind", f"127.0.0.1:{port}", "preloaded:application"]
    environ = os.environ | {"DATABASE_URL": shared_database, "PYTHONPATH": str(ROOT)}
    answers: list[str] = []

    def ask() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                answers.append(answer.read().decode())
        except urllib.error.URLError:
            return False
        return True

    log = tmp_path / "log"
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=output, stderr=output)
        try:
            eventually(lambda: ask() or server.poll() is not None)
            assert server.poll() is None, log.read_text()
            crew = [Task(lambda: [ask() for _ in range(25)]) for _ in range(8)]
            served = [each for task in crew for each in task.outcome()]
        finally:
            server.terminate()
            server.wait(60)
    assert all(served), log.read_text()
    assert not [answer for answer in answers if answer.endswith("True")], "a worker used the master's connection"
    drill(11, "forked children", "gunicorn, gthread, preload").row("ElasticPool", {"requests": 200, "failures": 0})


def test_forks_beside_threads_that_connect(shared_database: str, drill: Any) -> None:
    count = by_form(short=60, long=300)
    said = run("forks", shared_database, str(count), seconds=280)
    drill(11, "forked children", f"{count} forks beside 6 threads connecting").row(
        "ElasticPool", {"children that hung or failed": 0, "longest child, s": figure("longest child", said)}
    )


def test_a_crowd(shared_database: str, drill: Any) -> None:
    said = run("crowd", shared_database, "2000", "5", seconds=280)
    drill(16, "a crowd", "2,000 threads, 10,000 borrows on 20").row(
        "ElasticPool", {"not served": 0, "longest wait, s": figure("longest wait", said)}
    )


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_a_server_process_frozen_in_mid_query(shared_database: str, admin: Admin, drill: Any, driver: str) -> None:
    url = shared_database.replace("postgresql://", f"postgresql+{driver}://")
    with DatabaseConnectionManager(url, min_size=0, max_size=2) as db:
        pid = db.execute_query("SELECT pg_backend_pid()").scalar()

        def freeze() -> None:
            eventually(lambda: admin.rows("SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'", pid))
            os.kill(pid, signal.SIGSTOP)

        freezing = Task(freeze)
        try:
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded), db.deadline(4):
                db.execute_query("SELECT pg_sleep(1000)")
            took = time.monotonic() - began
            freezing.join()
            assert db.execute_query("SELECT pg_backend_pid()").scalar() != pid
        finally:
            os.kill(pid, signal.SIGCONT)
    drill(6, "a frozen server process", driver).aim("caller free after a deadline of 4 s, s", took, most=4.4)


def test_ctrl_c_in_an_eight_second_query(shared_database: str, admin: Admin, drill: Any) -> None:
    with DatabaseConnectionManager(shared_database, min_size=0, max_size=2) as db:
        pid = db.execute_query("SELECT pg_backend_pid()").scalar()
        pressed: list[float] = []

        def press() -> None:
            old = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND clock_timestamp() - query_start > '1 s'"
            eventually(lambda: admin.rows(old + " AND state = 'active'", pid))
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        pressing = Task(press)
        with pytest.raises(KeyboardInterrupt):
            db.execute_query("SELECT pg_sleep(8)")
        took = time.monotonic() - pressed[0]
        pressing.join()
        eventually(lambda: not admin.rows("SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'", pid))
        assert db.stats().in_use == 0
    drill(17, "Ctrl-C", "in an 8 s query, psycopg2").aim("KeyboardInterrupt after, s", took, most=1.0)


def test_a_migrator_killed_inside_a_long_statement(database: str, tmp_path: Path, drill: Any) -> None:
    subprocess.run(
        [sys.executable, "-m", "dbkit.migrate", "init", "."], cwd=tmp_path, check=True, capture_output=True, timeout=120
    )
    folder = next(path.parent for path in tmp_path.rglob("env.py"))
    (folder / "versions").mkdir(exist_ok=True)
    write_revision(folder, "one", None, "op.execute('SELECT pg_sleep(15)')")
    asleep = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(15)%' AND pid <> pg_backend_pid()"
    environ = os.environ | {"DATABASE_URL": database}
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    with DatabaseConnectionManager(database, min_size=0) as db:
        process = subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE)
        with process:
            eventually(lambda: db.execute_query(asleep).all())
            process.kill()
        (folder / "versions" / "one.py").unlink()
        write_revision(folder, "one", None, "op.execute('SELECT 1')")
        began = time.monotonic()
        db.migrate(config=tmp_path / "alembic.ini", timeout=60)
        took = time.monotonic() - began
    drill(18, "migrators", "killed inside a 15 s statement").aim("the next one is done after, s", took, most=3.0)
