"""Ctrl-C at a moment that suits the work."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self


class CtrlC:
    """While this context lasts, Ctrl-C is remembered and raised only where the work asks for it.

    An exception out of nowhere may strike in the middle of a transaction, or be lost in a finalizer. So long work is
    done under this context and calls ``check()`` wherever it can stop. For the main thread only.
    """

    def __enter__(self) -> Self:
        self._pressed = False
        self._before: Any = signal.signal(signal.SIGINT, self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self._pressed:
            raise KeyboardInterrupt

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._pressed = True
