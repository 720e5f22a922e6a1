"""A bell: how one sleeper waits, and is woken by anybody."""

from __future__ import annotations

import _thread
from threading import TIMEOUT_MAX


class Bell:
    """Wakes one sleeper.

    A ring is kept until the sleeper comes; ringing twice is ringing once. A lock held from birth is the bell: of all
    of Python's ways to wait it is the cheapest, it takes a timeout, and Ctrl-C gets through to it. Its type is looked
    up when the bell is made, so that it is gevent's or eventlet's in a patched process.
    """

    __slots__ = ("__weakref__", "_bell")

    def __init__(self) -> None:
        self._bell = _thread.allocate_lock()
        self._bell.acquire()

    def wait(self, seconds: float) -> bool:
        """Sleep until woken, at most this many seconds. True if woken."""
        if seconds <= 0:
            return self._bell.acquire(False)
        return self._bell.acquire(True, seconds if seconds < TIMEOUT_MAX else TIMEOUT_MAX)

    def wake(self) -> None:
        """Wake the sleeper. Idempotent; safe from any thread, and from inside the garbage collector."""
        try:
            self._bell.release()
        except RuntimeError:  # it rings already
            pass
