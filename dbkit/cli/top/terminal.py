"""The terminal: keys one by one, a screen of its own, and all as it was before, however the program ends."""

from __future__ import annotations

import os
import re
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-9;?]*[@-~]|O.)")
"""What an arrow or a function key sends."""

_ENDS: Final = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def keys() -> Iterator[int | None]:
    """Let standard input give each key at once and unseen, for the length of the block.

    Returns:
        The file descriptor to read keys from; None where standard input is no terminal.
    """
    if not sys.stdin.isatty():
        yield None
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        now = termios.tcgetattr(terminal)
        now[6][termios.VSUSP] = b"\0"  # Ctrl-Z would leave the shell on this screen
        termios.tcsetattr(terminal, termios.TCSANOW, now)
        yield terminal
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


def pressed(terminal: int) -> str:
    """The keys that were pressed, as text; ``q`` where the terminal is gone. Arrows and function keys are left out."""
    read = os.read(terminal, 64)
    if not read:
        return "q"
    return _SEQUENCE.sub("", read.decode(errors="replace"))


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """For the length of the block SIGTERM and SIGHUP end the program as ``sys.exit`` does, so that all is put back."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
