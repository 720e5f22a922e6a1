"""One line per revision on a terminal; nothing where nobody is watching."""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO


class Progress:
    """Tells a person how far a migration is. Belongs to one thread.

    It writes where standard error is a terminal, unless Alembic's own log lines say the same already (as they do on
    the command line, by ``alembic.ini``).

    Args:
        stream: where to write; None for standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._open = False
        self._began = 0.0
        self._watched = self._is_watched()

    def _is_watched(self) -> bool:
        if self._stream is None or logging.getLogger("alembic.runtime.migration").isEnabledFor(logging.INFO):
            return False
        try:
            return self._stream.isatty()
        except ValueError:  # closed
            return False

    def begin(self, number: int, count: int, step: str) -> None:
        """Tell that a step begins.

        Args:
            number: of the step, from 1.
            count: of all steps.
            step: what it does.
        """
        self._began, self._open = time.monotonic(), True
        self._write(f"[{number}/{count}] {step} ... ")

    def end(self, word: str = "") -> None:
        """Tell that the step under way ended: how long it took, or the word that says how else."""
        if self._open:
            self._open = False
            self._write(f"{word or f'{time.monotonic() - self._began:.1f} s'}\n")

    def note(self, line: str) -> None:
        """Tell something else, on a line of its own."""
        self.end("stopped")
        self._write(f"{line}\n")

    def _write(self, text: str) -> None:
        if self._watched:
            self._stream.write(text)
            self._stream.flush()
