"""Which form of a drill runs, and what of the system it may need: both said by the environment.

Programs of the drills ask for the form, too: pytest is loaded by what only tests use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

FORM: Final = os.environ.get("DBKIT_DRILLS") or "short"
"""``short``, which the ordinary suite runs, or ``long``."""

REQUIRED: Final = frozenset(filter(None, os.environ.get("DBKIT_DRILLS_REQUIRE", "").split(",")))
"""What the machine is said to have: a drill that misses it fails."""

SYSTEM_FOLDERS: Final = os.pathsep.join(("/usr/sbin", "/sbin", "/usr/local/sbin"))
"""Where distributions put servers, which are not on everybody's ``PATH``."""

if FORM not in ("short", "long"):
    raise ValueError(f"DBKIT_DRILLS={FORM!r}: short or long")


def by_form(*, short: T, long: T) -> T:
    """The one that belongs to the form that runs."""
    return long if FORM == "long" else short


def only_long(test: Callable[..., None]) -> Callable[..., None]:
    """A mark: the test runs in the long form only."""
    import pytest

    return pytest.mark.skipif(FORM != "long", reason="in the long form only: DBKIT_DRILLS=long")(test)


def program(name: str, *, needed_for: str) -> str:
    """The path of a program of the system; without it the test is skipped, or fails where it is required.

    Args:
        name: as it is called.
        needed_for: what ``DBKIT_DRILLS_REQUIRE`` calls it.
    """
    found = shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + SYSTEM_FOLDERS)
    if found is None:
        missing(needed_for, f"there is no {name}")
    return found


def missing(what: str, reason: str) -> None:
    """Skip the test, or fail it where ``DBKIT_DRILLS_REQUIRE`` names what is missing."""
    import pytest

    if what in REQUIRED:
        pytest.fail(f"{reason}, and DBKIT_DRILLS_REQUIRE names {what}")
    pytest.skip(reason)


def need_network_namespace() -> None:
    """Skip the test where this process may not make a network namespace of its own with a packet filter in it."""
    unshare, iptables = (program(name, needed_for="netns") for name in ("unshare", "iptables"))
    program("ip", needed_for="netns")
    tried = subprocess.run([unshare, "--net", iptables, "-L"], capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode != 0:
        missing("netns", f"no network namespace with a packet filter: {tried.stderr.strip()}")
