"""The five verbs (see ``base.py``) on an asyncio event loop: borrowers are tasks, jobs are tasks of the pool's own.

Pool code is synchronous. SQLAlchemy runs it in a greenlet, in which ``await_only`` waits for the loop; nothing in here
awaits under a lock, so the lock is the threads'. Invariants:

1. A runtime belongs to one loop, from ``bind`` on. What is called from elsewhere - another thread, the collector, a
   signal handler - is handed to that loop; once the loop is closed nothing is started any more.
2. A job's task is held strongly until it is done. It is never the borrower's task, so no cancellation of a borrower
   reaches it, and a borrower that waits for it may leave at any moment.
3. A job begins in a turn of the loop of its own, never inside its caller: whatever task factory the loop has.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from sqlalchemy.util import await_only, greenlet_spawn

from dbkit.runtime import tasks
from dbkit.runtime.locks import ThreadLock
from dbkit.runtime.loop_clock import LoopClock
from dbkit.runtime.uncut import Uncut

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Mapping

    from dbkit.core.holding import CallSite, Seen
    from dbkit.runtime.base import OwnedLock

logger = logging.getLogger("dbkit.pool")

T = TypeVar("T")

LAST_CALL: Final = 2.0
"""Seconds that the jobs under way get to end by themselves when their loop ends."""


class LoopWaiter:
    """A borrower that stands in line: a task that waits for a future.

    A ring is kept until the sleeper comes; ringing twice is ringing once. The future is touched on the loop alone.
    """

    __slots__ = (
        "__weakref__",
        "_clock",
        "_future",
        "_loop",
        "_rung",
        "called",
        "context",
        "due_at",
        "error",
        "holder",
        "since",
        "slot",
    )

    def __init__(self, runtime: LoopRuntime, since: float, holder: object, context: Context | None) -> None:
        self._loop, self._clock = runtime._bound(), runtime.clock
        self._future: asyncio.Future[bool] | None = None
        self._rung = False
        self.since = since
        self.due_at = since
        self.called = False
        self.slot: Any = None
        self.error: BaseException | None = None
        self.holder = holder
        self.context = context

    def wait(self, seconds: float) -> bool:
        """Sleep until woken, at most this many seconds. True if woken.

        Raises:
            asyncio.CancelledError: the borrower's task was cancelled; also where it was woken in the same turn.
        """
        if not self._rung and seconds > 0:
            future = self._future = self._loop.create_future()
            limit = self._clock.limit(seconds, self._ring)
            try:
                await_only(future)
            finally:
                self._clock.give_up(limit)
                self._future = None
        rung, self._rung = self._rung, False
        return rung

    def _ring(self) -> None:
        future = self._future
        if future is not None and not future.done():
            future.set_result(True)

    def wake(self) -> None:
        """Wake the borrower. Idempotent; safe from any thread, and from inside the garbage collector."""
        self._rung = True
        if asyncio._get_running_loop() is self._loop:
            self._ring()
        else:
            _hand_over(self._loop, self._ring)


class LoopRuntime:
    """Fulfils ``Runtime``: borrowers are tasks of one event loop, and a job is a task of its own on it."""

    __slots__ = ("_at_end", "_clock", "ending", "jobs", "loop", "who")

    kind: ClassVar = "task"

    def __init__(self) -> None:
        self.who: Final[Callable[[], int]] = tasks.number
        self.loop: asyncio.AbstractEventLoop | None = None
        """The loop that this runtime belongs to; None until ``bind``."""
        self._clock: LoopClock | None = None
        self.jobs: set[asyncio.Task[Any]] = set()
        """The jobs under way."""
        self.ending = False
        """The loop is about to be closed: what is to be done is done at once."""
        self._at_end: AsyncGenerator[None, None] | None = None

    def bind(self, loop: asyncio.AbstractEventLoop, at_end: Callable[[], Awaitable[None]]) -> None:
        """Belong to this running loop from now on.

        Args:
            loop: the loop of the caller.
            at_end: awaited when the loop shuts down (``asyncio.run`` and ``Runner`` do, before they close it).
        """
        self.loop = loop
        # A loop that shuts down closes the generators that began on it: the one way to be told in time, and to await.
        self._at_end = _wait_for_the_end(self, at_end)
        try:
            self._at_end.__anext__().send(None)
        except StopIteration:
            pass

    def lock(self) -> OwnedLock:
        """Make a lock that knows its owner."""
        return ThreadLock()

    @property
    def clock(self) -> LoopClock:
        """The time limits on this loop."""
        clock = self._clock
        if clock is None:
            clock = self._clock = LoopClock(self._bound())
        return clock

    def waiter(self, since: float, holder: object, context: Context | None) -> LoopWaiter:
        """Make a waiter. See ``Runtime.waiter``."""
        return LoopWaiter(self, since, holder, context)

    def spawn(self, job: Callable[[], None], context: Context | None) -> bool:
        """Run a job in a task of its own, in a copy of ``context``. False where there is no open loop."""
        loop = self.loop
        if loop is None or loop.is_closed():
            return False
        own = Context() if context is None else context.copy()
        if asyncio._get_running_loop() is loop:
            self._start(_do(job), own)
            return True
        return _hand_over(loop, lambda: self._start(_do(job), own))

    def _start(self, job: Coroutine[Any, Any, T], context: Context) -> asyncio.Task[T]:
        task = asyncio.Task(job, loop=self._bound(), context=context, name="dbkit's own")
        self.jobs.add(task)
        task.add_done_callback(self.jobs.discard)
        return task

    def see_through(self, job: Coroutine[Any, Any, T], left: Callable[[asyncio.Task[T]], object]) -> T:
        """Wait, in a greenlet, for the end of what must not be cut short.

        Args:
            job: the coroutine; see ``Uncut``.
            left: is told of its end in the caller's place, where the caller was cancelled.

        Raises:
            asyncio.CancelledError: the caller was cancelled; the job goes on, in a task of its own.
        """
        under_way = Uncut(job)
        try:
            return await_only(under_way)
        except BaseException:
            if not under_way.is_over:
                self._start(under_way.to_its_end(), Context()).add_done_callback(left)
            raise

    async def settle(self, seconds: float, *, cancel: bool = False) -> None:
        """Wait until the jobs under way are done.

        Args:
            seconds: at most; 0 or less for no wait.
            cancel: cancel those that are not done by then, and wait for that.
        """
        deadline = monotonic() + seconds
        while (under_way := self._others()) and (left := deadline - monotonic()) > 0:
            await asyncio.wait(under_way, timeout=left)
        if cancel and (under_way := self._others()):
            for task in under_way:
                task.cancel()
            await asyncio.wait(under_way, timeout=LAST_CALL)

    def _others(self) -> set[asyncio.Task[Any]]:
        current = asyncio.current_task()
        return {task for task in self.jobs if task is not current}

    def call_at(self, when: float, ring: Callable[[], None]) -> None:
        """Call ``ring`` at this time of the monotonic clock, on the loop; never, once that is closed."""
        loop = self.loop
        if loop is None or when == float("inf"):
            return
        if asyncio._get_running_loop() is loop:
            loop.call_later(max(0.0, when - monotonic()), ring)
        else:
            _hand_over(loop, self.call_at, when, ring)

    def look_at(self, numbers: Collection[int]) -> Mapping[int, Seen]:
        """Where these tasks are now. See ``Runtime.look_at``."""
        return tasks.look_at(numbers, self.loop)

    def call_site(self) -> CallSite:
        """The calls that led here. See ``Runtime.call_site``."""
        return tasks.call_site()

    def _bound(self) -> asyncio.AbstractEventLoop:
        loop = self.loop
        if loop is None:
            loop = self.loop = asyncio.get_running_loop()
        return loop


async def _wait_for_the_end(runtime: LoopRuntime, at_end: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        runtime.ending = True
        await at_end()


async def _do(job: Callable[[], None]) -> None:
    """A job that is synchronous, in a greenlet; its errors end here."""
    try:
        await greenlet_spawn(job)
    except asyncio.CancelledError:
        if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # this is a task
            raise
        logger.debug("a background job of the pool was cut short", exc_info=True)
    except Exception:
        logger.exception("a background job of the pool failed")


def _hand_over(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: object) -> bool:
    """Have the loop call a function. False if it is closed."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        return False
    return True
