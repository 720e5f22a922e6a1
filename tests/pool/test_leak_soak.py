"""The soak with leaks, in a process of its own: on CPython 3.11 such a mix could end or stop the whole process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_leaks_timeouts_and_questions_after_the_holders_at_once(shared_database: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.pool.leak_soak", shared_database, "8"],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "in use 0" in done.stdout
