"""The five verbs of a runtime: a lock, a waiter, spawn a job, call at a time, who am I.

Pools are written against these protocols alone. ``threads.py`` fulfils them with threads, and with the greenlets of
gevent and eventlet; ``loop.py`` with the tasks of an event loop. No verb hands out a thread, and only ``Waiter.wait``
waits. Whoever borrows can be named: the runtime knows where its borrowers are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dbkit.core.types import Waiter as WaiterInLine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from contextvars import Context
    from types import TracebackType

    from dbkit.core.holding import CallSite, Seen


class OwnedLock(Protocol):
    """A lock that knows whether its caller is inside: ``with lock:``, and ``lock.is_mine()``.

    Python may run a finalizer or a signal handler at any line, also on the thread that holds the lock. Code that may
    run there asks ``is_mine()`` first. If it is True, the code must not enter: it queues its work, which the holder
    does after it released the lock. Nobody enters twice; an implementation may even deadlock on that.
    """

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def is_mine(self) -> bool:
        """Whether the caller holds the lock. True from before it can act under the lock until it has released it."""
        ...


class Waiter(WaiterInLine, Protocol):
    """A borrower that stands in line: what the ledger keeps on it, and how it sleeps and is woken."""

    holder: object
    """Who asks: what ``who()`` returned."""
    context: Context | None
    """The context variables of the borrower: jobs that are done for it run in a copy."""

    def wait(self, seconds: float) -> bool:
        """Sleep until woken, at most this many seconds. True if woken."""
        ...

    def wake(self) -> None:
        """Wake the borrower. Idempotent; safe from any thread, and from inside the garbage collector."""
        ...


class Runtime(Protocol):
    """Carries a pool. Safe to use from any thread, and, but for ``Waiter.wait``, inside the garbage collector."""

    @property
    def kind(self) -> str:
        """What a borrower is called: ``thread`` or ``task``."""
        ...

    @property
    def who(self) -> Callable[[], int]:
        """Call it for the number of the caller: the thread or, on an event loop, the task. Unique while that lives."""
        ...

    def lock(self) -> OwnedLock:
        """Make a lock."""
        ...

    def waiter(self, since: float, holder: object, context: Context | None) -> Waiter:
        """Make a waiter for the caller, which alone may ``wait`` on it.

        Args:
            since: when the borrow began, in seconds of the monotonic clock.
            holder: who asks.
            context: ``contextvars.copy_context()`` of the borrower; None for an empty one.
        """
        ...

    def spawn(self, job: Callable[[], None], context: Context | None) -> bool:
        """Run a job that may block, beside the caller, in a copy of ``context`` (an empty one if None).

        An exception from the job is logged.

        Returns:
            Whether the job was started. If not, it will not run: keep it, and try again later.
        """
        ...

    def call_at(self, when: float, ring: Callable[[], None]) -> None:
        """Call ``ring`` at this time of the monotonic clock, from the background; it must not block.

        An alarm cannot be taken back: let ``ring`` find out whether it is still wanted.
        """
        ...

    def look_at(self, numbers: Collection[int]) -> Mapping[int, Seen]:
        """Where the borrowers with these numbers are now: one entry for each, also for those that have ended."""
        ...

    def call_site(self) -> CallSite:
        """The calls that led the caller here, innermost first. Keeps no local variable alive."""
        ...
