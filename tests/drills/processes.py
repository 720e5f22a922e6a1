"""Programs of the drills that run in a process of their own, and what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .canary import FOLDER
from .forms import by_form

ROOT: Final = Path(__file__).parents[2]

PYTHON: Final = (sys.executable, "-X", "faulthandler", "-W", "ignore::DeprecationWarning")
"""From 3.12 Python warns of each fork beside threads."""


def undisturbed() -> dict[str, str]:
    """The environment for a program whose seconds count: in the long form, which gives the figures, the canary looks at
    what it prints only.
    """
    left_out = by_form(short=(), long=(FOLDER,))
    return {name: value for name, value in os.environ.items() if name not in left_out}


def run(module: str, *arguments: str, seconds: float, environ: Mapping[str, str] | None = None) -> str:
    """Run a module of ours to its end, and return what it said; it must end well, and in so many seconds."""
    done = subprocess.run(
        [*PYTHON, "-m", module, *arguments],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    print(done.stderr[-4000:])  # for a test that fails by the figures
    return done.stdout


def figure(name: str, said: str) -> float:
    """The number after this name, in what a program said."""
    found = re.search(rf"^{re.escape(name)} (-?[\d.]+)", said, re.MULTILINE)
    assert found is not None, said
    return float(found[1])
