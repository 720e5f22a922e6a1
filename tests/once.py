"""What is made once in a run of the tests, however many workers there are, and used by whoever comes to it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first worker fills, while others that want it wait. Nobody may change it.

    Args:
        tmp_path_factory: pytest's own.
        name: of the folder.
        make: fills it; where it fails, the next one that comes tries again, and tells its own error.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the run's, in which each worker has its own
    folder, whole = base / f"once-{name}", base / f"once-{name}.whole"
    with (base / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            whole.touch()
    return folder
