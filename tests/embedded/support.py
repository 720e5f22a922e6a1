"""What the tests of the embedded server share: waiting for processes, and whole programs that start a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 30.0  # seconds; nothing here takes more than one or two

PROGRAM = """
import json, os, signal, sys, threading
from dbkit.embedded import EmbeddedPostgres

def tell(server, **more):
    facts = dict(pid=server.pid, guard=server._guard._process.pid, folder=str(server.folder), url=server.url(), **more)
    print(json.dumps(facts), flush=True)

"""


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition; fail with ``what`` when it does not come true."""
    deadline = time.monotonic() + DEADLINE
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"not within {DEADLINE:g} s: {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Tell whether a process exists and is more than a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self").exists()


def spawn(code: str, **options: Any) -> subprocess.Popen[str]:
    """Start a program (``PROGRAM`` and then ``code``) in a session of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.Popen(
        [options.pop("python", sys.executable), "-W", "error", "-c", PROGRAM + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        **options,
    )


def facts_of(program: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the line a program told."""
    assert program.stdout is not None
    line = program.stdout.readline()
    assert line, f"the program told nothing: {program.communicate(timeout=DEADLINE)[1]}"
    found: dict[str, Any] = json.loads(line)
    return found


def assert_nothing_left(facts: dict[str, Any]) -> None:
    """Wait until the server, its guard and its temporary folder are gone."""
    until(lambda: not alive(facts["pid"]), "the server is gone")
    until(lambda: not alive(facts["guard"]), "its guard is gone")
    assert not Path(facts["folder"]).parent.exists()
