"""Scenarios with a fork in them, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from .helpers import sqlalchemy_url

PROLOGUE = """
import faulthandler, multiprocessing, os, sys, threading, time, traceback
from sqlalchemy import create_engine, text
from dbkit.pool.elastic import ElasticPool
from tests.pool.helpers import locked, pid_of

engine = create_engine(sys.argv[1], poolclass=ElasticPool, min_size=2, max_size=4, pool_timeout=10)

def in_child(work, leave=os._exit):
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(15)  # where it hangs, if it does
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(99)
        leave(7)
    deadline = time.monotonic() + 20
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise SystemExit("the child hangs")
        time.sleep(0.005)
    assert os.waitstatus_to_exitcode(status) == 7, os.waitstatus_to_exitcode(status)

def use(expected_not=()):
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
        assert pid_of(connection) not in expected_not, "the parent's connection"
"""


def run(url: str, script: str) -> None:
    """Run the scenario in a process of its own, with an ``engine`` on this database."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            PROLOGUE + textwrap.dedent(script),
            sqlalchemy_url(url).render_as_string(hide_password=False),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
