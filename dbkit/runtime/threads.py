"""How a thread waits in line: the only place where a borrower sleeps."""

from __future__ import annotations

from _thread import allocate_lock
from threading import TIMEOUT_MAX, local
from typing import Any


class Patience(local):
    """How long the borrow under way on this thread may take, where that is not the pool's ``timeout``."""

    seconds: float | None = None


class ThreadWaiter:
    """A borrower standing in line, and the bell that wakes him.

    The bell says only "come and look"; what happened stands in the fields, which are read and written under the
    pool's lock. A lock held from birth is the bell: of all of Python's ways to wait it is the cheapest, it takes a
    timeout, and Ctrl-C gets through to it.
    """

    __slots__ = ("__weakref__", "_bell", "called", "due_at", "error", "since", "slot")

    def __init__(self, since: float) -> None:
        self.since = since
        """When the borrow began, in seconds of the monotonic clock."""
        self.due_at = since
        self.called = False
        self.slot: Any = None
        self.error: BaseException | None = None
        self._bell = allocate_lock()
        self._bell.acquire()

    def wait(self, seconds: float) -> bool:
        """Sleep until woken, at most this long. True if woken."""
        if seconds <= 0:
            return self._bell.acquire(False)
        return self._bell.acquire(True, seconds if seconds < TIMEOUT_MAX else TIMEOUT_MAX)

    def wake(self) -> None:
        """Wake the borrower. Waking twice is waking once; safe from any thread."""
        try:
            self._bell.release()
        except RuntimeError:  # it rings already
            pass
