"""What the tests of the runtime share."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30.0
"""Seconds after which a condition is taken for one that never comes true."""


class FromOutsideError(BaseException):
    """Stands for Ctrl-C."""


def eventually(condition: Callable[[], Any]) -> Any:
    """Poll until the condition is true and return what it returned."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: the condition in {condition!r}"
        time.sleep(0.002)
    return found


def in_a_fork(say: Callable[[], str]) -> str:
    """What ``say`` returned in a forked child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.write(writing, say().encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def strike_at_line(number: int, action: Callable[[], object], *files: str) -> bool:
    """Run ``action``, and raise in it from outside at the nth line that runs in these files. False if it has fewer."""
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            lines += 1
            if lines == number:
                sys.settrace(None)
                raise FromOutsideError
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except FromOutsideError:
        return True
    finally:
        sys.settrace(before)
    return lines >= number  # struck where nothing gets out, as in a finalizer
