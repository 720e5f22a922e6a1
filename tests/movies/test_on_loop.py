"""``python -m examples.movies --async``."""

from __future__ import annotations

import subprocess
import sys


def test_the_shop_on_an_event_loop():
    command = [sys.executable, "-W", "error", "-m", "examples.movies", "--async", "--count", "200", "--seconds", "0.5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "200 tasks, three repositories, one pool (2 to 10)" in done.stdout
    assert "FAIL" not in done.stdout
    assert "ok    the threads: 0 errors" in done.stdout
    assert done.stderr == ""
