"""Every drill is watched by the canary, and so is every Python process that it starts."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from _pytest.logging import LogCaptureHandler

from dbkit.embedded import EmbeddedPostgres

from ..pool.helpers import Task
from .canary import FOLDER, IN_CHILDREN, Canary

PASSWORDS: Final[list[str]] = []
"""Of all servers that were started since ``note_passwords``."""

_LISTENERS: Final[list[Callable[[str], None]]] = []


def note_passwords() -> None:
    """From now on note the password of each server that is started."""
    make = EmbeddedPostgres.__init__

    def make_and_note(self: EmbeddedPostgres, *given: Any, **more: Any) -> None:
        make(self, *given, **more)
        PASSWORDS.append(self.password)
        for listener in _LISTENERS:
            listener(self.password)

    EmbeddedPostgres.__init__ = make_and_note  # type: ignore[method-assign]


@contextmanager
def watched(canary: Canary, folder: Path) -> Iterator[None]:
    """Within the block the canary hears and sees what a drill does.

    Args:
        canary: learns the passwords of all servers.
        folder: the canary's, for children.
    """
    leaving = type(pytest.raises(Exception))
    communicate, run, leave = subprocess.Popen.communicate, Task.run, leaving.__exit__

    def communicate_and_look(self: Any, *given: Any, **more: Any) -> Any:
        told = communicate(self, *given, **more)
        for text in filter(None, told):
            canary.look(f"the output of {self.args!r:.80}", text if isinstance(text, str) else text.decode())
        return told

    def run_and_look(self: Task) -> None:
        run(self)
        if self.error is not None:
            canary.examine(self.error)

    def leave_and_look(self: Any, kind: Any, error: BaseException | None, trace: Any) -> Any:
        if error is not None:
            canary.examine(error)
        return leave(self, kind, error, trace)

    canary.learn(*PASSWORDS)
    _LISTENERS.append(canary.learn)
    try:
        with pytest.MonkeyPatch.context() as patch, canary.hears_all():
            for handler in logging.root.handlers:
                if isinstance(handler, LogCaptureHandler):  # pytest would keep every record
                    patch.setattr(handler, "level", logging.WARNING)
            patch.setenv(FOLDER, str(folder))
            patch.setenv("PYTHONPATH", IN_CHILDREN, prepend=os.pathsep)
            patch.setattr(subprocess.Popen, "communicate", communicate_and_look)
            patch.setattr(Task, "run", run_and_look)
            patch.setattr(leaving, "__exit__", leave_and_look)
            yield
    finally:
        _LISTENERS.remove(canary.learn)
