"""Drill 11: forked children have connections of their own, and the parent's live on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dbkit.embedded import EmbeddedPostgres

from ..pool.helpers import Task, eventually
from .closing import SESSIONS
from .conftest import MakeDrill
from .entrants import NAME
from .forms import by_form
from .inside import OURS, RUNNING
from .processes import PYTHON, ROOT, figure, run

TITLE = "forked children"
WHY_NOT_WORKERS = "as they are, children share the parent's connection: see the first table of this drill"


def test_a_child_uses_the_pool_as_it_is(shared_database: str, drill: MakeDrill):
    record = drill(11, TITLE, "the child uses the pool as it is, the parent's connections idle in it")
    for name in RUNNING:
        said = run("tests.drills.forking", "idle", name, shared_database, seconds=100)
        seen = {what: int(figure(what, said)) for what in ("shared", "failed", "errors")}
        record.row(
            name,
            {
                "children that share a connection": seen["shared"],
                "children that hung or failed": seen["failed"],
                "errors of the parent afterwards": seen["errors"],
            },
        )
        if name == OURS:
            for what, count in record.rows[0].figures.items():
                record.must(what, float(count), most=0)


def test_multiprocessing_in_three_ways(shared_database: str, drill: MakeDrill):
    case = "multiprocessing: fork, spawn, forkserver; the parent's connections idle, borrowed, waited for"
    record = drill(11, TITLE, case)
    record.without("QueuePool, psycopg_pool", WHY_NOT_WORKERS)
    failed = figure("failed", run("tests.drills.forking", "methods", OURS, shared_database, seconds=200))
    record.row(OURS, {"children that hung or failed": int(failed)})
    record.must("children that hung or failed", failed, most=0)


def test_forks_beside_threads_that_connect(shared_database: str, drill: MakeDrill):
    record = drill(11, TITLE, "forks beside 6 threads connecting; the peers' children begin as their documents say")
    for name in RUNNING:
        count = by_form(short=40, long=300 if name == OURS else 60)
        said = run(
            "tests.drills.forking",
            "connecting",
            name,
            shared_database,
            str(count),
            seconds=by_form(short=280, long=1100),
        )
        failed, errors = int(figure("failed", said)), int(figure("errors", said))
        record.row(
            name,
            {
                "forks": count,
                "children that hung or failed": failed,
                "errors of the threads": errors,
                "longest child, s": figure("longest", said),
            },
        )
        if name == OURS:
            record.must("children that hung or failed", failed, most=0)
            record.must("errors of the threads", errors, most=0)


APPLICATION = """
import json
import os
from dbkit import DatabaseConnectionManager

db = DatabaseConnectionManager(os.environ["DATABASE_URL"], min_size=1, max_size=3)
before = db.execute_query("SELECT pg_backend_pid()").scalar()

def application(environ, start_response):
    pid = db.execute_query("SELECT pg_backend_pid()").scalar()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {pid == before}".encode()]
"""
EACH, WORKERS, THREADS = 25, 2, 8


def test_gunicorn_with_threads_and_preload(
    server: EmbeddedPostgres, shared_database: str, tmp_path: Path, drill: MakeDrill
):
    pytest.importorskip("gunicorn")
    record = drill(11, TITLE, "gunicorn: gthread, preload")
    record.without("QueuePool, psycopg_pool", WHY_NOT_WORKERS)
    (tmp_path / "preloaded.py").write_text(APPLICATION)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = ("--preload", "--worker-class", "gthread", "--workers", str(WORKERS), "--threads", "4")
    paths = os.pathsep.join((os.environ["PYTHONPATH"], str(ROOT)))
    environ = os.environ | {"DATABASE_URL": f"{shared_database}?application_name={NAME}", "PYTHONPATH": paths}
    answers: list[str] = []

    def ask() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                answers.append(answer.read().decode())
        except urllib.error.URLError:
            return False
        return True

    command = [*PYTHON, "-m", "gunicorn", *options, "--bind", f"127.0.0.1:{port}", "preloaded:application"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            eventually(lambda: ask() or process.poll() is not None)
            crew = [Task(lambda: [ask() for _ in range(EACH)]) for _ in range(THREADS)]
            served = [each for task in crew for each in task.outcome()]
            sessions = server.execute(SESSIONS)[0][0]
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=60)
    failures = served.count(False)
    shared = sum(answer.endswith("True") for answer in answers)
    record.row(OURS, {"requests": len(served), "failures": failures, "on the master's connection": shared})
    assert failures == 0, said
    record.must("on the master's connection", shared, most=0)
    record.must("sessions", sessions, most=3 * WORKERS + 1)
    assert eventually(lambda: server.execute(SESSIONS) == [(0,)])


TASKS = """
import json
import os
from celery import Celery
from dbkit import DatabaseConnectionManager

here = os.environ["HERE"]
db = DatabaseConnectionManager(os.environ["DATABASE_URL"], min_size=1, max_size=2)
before = db.execute_query("SELECT pg_backend_pid()").scalar()  # in the process that forks the workers
app = Celery("tasks", broker="filesystem://", backend=f"file://{here}/results")
app.conf.broker_connection_retry_on_startup = True
app.conf.broker_transport_options = {
    "data_folder_in": f"{here}/queue", "data_folder_out": f"{here}/queue", "control_folder": f"{here}/control",
}

@app.task
def ask():
    pid = db.execute_query("SELECT pg_backend_pid()").scalar()
    return [os.getpid(), pid, pid == before, db.stats().in_use]
"""
ASKS = """
import json
from tasks import ask
print(json.dumps([one.get(timeout=100) for one in [ask.delay() for _ in range(20)]]))
"""


def test_celerys_forked_workers(server: EmbeddedPostgres, shared_database: str, tmp_path: Path, drill: MakeDrill):
    pytest.importorskip("celery")
    record = drill(11, TITLE, "Celery: prefork, 2 workers")
    record.without("QueuePool, psycopg_pool", WHY_NOT_WORKERS)
    (tmp_path / "tasks.py").write_text(TASKS)
    for name in ("queue", "results", "control"):
        (tmp_path / name).mkdir()
    paths = os.pathsep.join((os.environ["PYTHONPATH"], str(tmp_path), str(ROOT)))
    url = f"{shared_database}?application_name={NAME}"
    environ = os.environ | {"DATABASE_URL": url, "PYTHONPATH": paths, "HERE": str(tmp_path)}
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "--concurrency", "2"]
    with subprocess.Popen(
        [*command, *quiet], cwd=tmp_path, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            done = subprocess.run(
                [sys.executable, "-c", ASKS],
                cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=200, check=False,
            )  # fmt: skip
            sessions = server.execute(SESSIONS)[0][0]
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=60)
    assert done.returncode == 0, done.stderr + said
    answers = json.loads(done.stdout)
    shared = sum(one[2] for one in answers)
    record.row(OURS, {"tasks": len(answers), "on the master's connection": shared})
    record.must("on the master's connection", shared, most=0)
    record.must("connections in use after a task", sum(one[3] for one in answers), most=0)
    record.must("sessions", sessions, most=2 * 2 + 1)
    assert eventually(lambda: server.execute(SESSIONS) == [(0,)])
