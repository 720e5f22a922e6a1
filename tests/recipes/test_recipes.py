"""Every recipe runs as it is written, in processes of its own, and leaves no session at the server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dbkit import DatabaseConnectionManager

from ..pool.helpers import Task, eventually
from ..standby import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def db(database: str) -> Iterator[DatabaseConnectionManager]:
    with DatabaseConnectionManager(database, min_size=0, max_size=2) as manager:
        manager.execute_query("CREATE TABLE names (name text NOT NULL)")
        yield manager


@pytest.fixture
def environ(database: str) -> dict[str, str]:
    """Return the environment of a program that is to use this test's database."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DB_")}
    return kept | {"DATABASE_URL": database, "PYTHONUNBUFFERED": "1"}


@contextmanager
def running(environ: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module until the end of the block; it must then end by itself when it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
        assert "Traceback" not in said, said
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def sessions(db: DatabaseConnectionManager) -> int:
    """How many others are connected to the database."""
    found: int = db.execute_query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ).scalar()
    return found


def ask(url: str, method: str = "GET") -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=60) as answer:
        body = answer.read()
        return json.loads(body) if "json" in answer.headers["Content-Type"] else body.decode()


def answers(url: str) -> bool:
    try:
        return bool(ask(url))
    except OSError:
        return False


def test_flask_on_gunicorns_threads(db: DatabaseConnectionManager, environ: dict[str, str]) -> None:
    pytest.importorskip("flask")
    pytest.importorskip("gunicorn")
    address = f"127.0.0.1:{free_port()}"
    command = ("gunicorn", "-c", "examples/recipes/gunicorn_conf.py", "-b", address, "examples.recipes.flask_app:app")
    with running(environ, *command) as process:
        eventually(lambda: answers(f"http://{address}/livez") or process.poll() is not None)
        tasks = [Task(ask, f"http://{address}/names/{number}", "POST") for number in range(40)]
        for task in tasks:
            task.outcome()
        assert sessions(db) <= 2 * 4
        processes = set()
        while len(processes) < 2:  # the kernel spreads the requests
            told = [task.outcome() for task in [Task(ask, f"http://{address}/names") for _ in range(8)]]
            assert all(len(answer["names"]) == 40 for answer in told)
            processes |= {answer["process"] for answer in told}
        assert process.pid not in processes
    assert eventually(lambda: sessions(db) == 0)


def test_celery_with_forked_workers(db: DatabaseConnectionManager, environ: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("celery")
    environ |= {"CELERY_BROKER": "filesystem://", "CELERY_RESULTS": f"file://{tmp_path}/results"}
    for name in ("queue", "results"):
        (tmp_path / name).mkdir()
    settings = tmp_path / "with_files.py"  # a broker that needs no server
    settings.write_text(
        "from examples.recipes.celery_app import app\n"
        f"app.conf.broker_transport_options = {{'data_folder_in': {str(tmp_path / 'queue')!r},"
        f" 'data_folder_out': {str(tmp_path / 'queue')!r}, 'control_folder': {str(tmp_path / 'control')!r}}}\n"
    )
    environ["PYTHONPATH"] = os.pathsep.join((str(tmp_path), str(ROOT)))
    asks = (
        "from with_files import app\n"
        "from examples.recipes.celery_app import add\n"
        "found = [add.delay(str(number)) for number in range(12)]\n"
        "print(len({result.get(timeout=60) for result in found}))\n"
    )
    worker = (
        "celery",
        "-A",
        "with_files",
        "worker",
        "--pool",
        "prefork",
        "--concurrency",
        "2",
        "--loglevel",
        "WARNING",
    )
    with running(environ, *worker, "--without-gossip", "--without-mingle", "--without-heartbeat"):
        done = subprocess.run(
            [sys.executable, "-c", asks],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert 1 <= int(done.stdout) <= 2  # sessions: each process used the one connection of its own again
        assert db.execute_query("SELECT count(DISTINCT name) FROM names").scalar() == 12
    assert eventually(lambda: sessions(db) == 0)


def test_greenlets_share_the_pool(database: str, environ: dict[str, str]) -> None:
    pytest.importorskip("gevent")
    done = subprocess.run(
        [sys.executable, "-m", "examples.recipes.gevent_script"],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout == "20 borrows on 10 connections, 0 still out\n", done.stderr


def test_a_plain_script(db: DatabaseConnectionManager, environ: dict[str, str], tmp_path: Path) -> None:
    def copy(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "examples.recipes.plain_script", str(tmp_path / name)]
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False)

    (tmp_path / "names.csv").write_text("Ada\nGrace\n")
    assert copy("names.csv").stdout == "2 copied, 2 in all\n"
    missing = copy("none.csv")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "Traceback" not in missing.stderr
