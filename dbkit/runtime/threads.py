"""The five verbs (see ``base.py``) on threads.

The primitives are looked up in ``_thread`` when a runtime is made. So they are gevent's or eventlet's in a process that
was patched before, and then every "thread" below is a greenlet.
"""

from __future__ import annotations

import _thread
import logging
import sys
import threading
from contextvars import Context
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from dbkit.core.holding import Seen
from dbkit.errors import PatchedTooLateError
from dbkit.runtime import background, forks, interrupts
from dbkit.runtime.bell import Bell
from dbkit.runtime.locks import GreenLock, ThreadLock
from dbkit.runtime.stacks import call_site, look_at

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from dbkit.core.holding import CallSite
    from dbkit.runtime.base import OwnedLock

logger = logging.getLogger("dbkit.pool")


class ThreadWaiter(Bell):
    """A borrower that stands in line.

    Waking says only "come and look"; what happened stands in the fields, which are read and written under the pool's
    lock.
    """

    __slots__ = ("called", "context", "due_at", "error", "holder", "since", "slot")

    def __init__(self, since: float, holder: object, context: Context | None) -> None:
        self.since = since
        """When the borrow began, in seconds of the monotonic clock."""
        self.due_at = since
        self.called = False
        self.slot: Any = None
        self.error: BaseException | None = None
        self.holder = holder
        self.context = context
        super().__init__()


class ThreadRuntime:
    """Fulfils ``Runtime``: borrowers are threads, and a job has a daemon thread of its own.

    Raises:
        PatchedTooLateError: from ``waiter`` and ``spawn``, if the process was patched since this was made.
    """

    __slots__ = ("who",)

    kind: ClassVar = "thread"

    def __init__(self) -> None:
        self.who: Final[Callable[[], int]] = _thread.get_ident
        """The built-in itself, unless the process is patched: it is called at every borrow."""

    @property
    def _has_threads(self) -> bool:
        """Whether a thread is the system's, and no greenlet."""
        return isinstance(self.who, BuiltinFunctionType)

    def lock(self) -> OwnedLock:
        """Make a lock that knows its owner."""
        lock: OwnedLock = ThreadLock() if self._has_threads else GreenLock()
        return lock

    def waiter(self, since: float, holder: object, context: Context | None) -> ThreadWaiter:
        """Make a waiter. See ``Runtime.waiter``."""
        if self.who is not _thread.get_ident:
            raise PatchedTooLateError
        if self._has_threads:  # else Ctrl-C is the hub's
            interrupts.listen()
        return ThreadWaiter(since, holder, context)

    def spawn(self, job: Callable[[], None], context: Context | None) -> bool:
        """Run a job on a daemon thread of its own, in a copy of ``context``. False if no thread can be had.

        A job never waits for a thread: it would be a borrower that waits behind another pool's black hole. Each pool's
        ``max_size`` bounds its jobs, and so its threads.
        """
        if self.who is not _thread.get_ident:
            raise PatchedTooLateError
        try:
            own = Context() if context is None else context.copy()
            _thread.start_new_thread(own.run, (_do if self._has_threads else _try, job))
        except (RuntimeError, MemoryError):
            return False
        return True

    def call_at(self, when: float, ring: Callable[[], None]) -> None:
        """Call ``ring`` at this time of the monotonic clock, on the thread of the process's one clock."""
        background.clock.at(when, ring)

    def look_at(self, numbers: Collection[int]) -> Mapping[int, Seen]:
        """Where these threads are now. See ``Runtime.look_at``."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        stacks = look_at(numbers)
        known = stacks.calls if stacks.complete else names
        return {
            number: Seen(names.get(number, f"thread {number}"), stacks.calls.get(number, ()), number not in known)
            for number in numbers
        }

    def call_site(self) -> CallSite:
        """The calls that led here. See ``Runtime.call_site``."""
        return call_site(sys._getframe(1))


def _do(job: Callable[[], None]) -> None:
    """Do a job on a thread of the system's, which ends after it."""
    try:
        _try(job)
    finally:
        forks.thread_ends()


def _try(job: Callable[[], None]) -> None:
    try:
        job()
    except Exception:
        logger.exception("a background job of the pool failed")
