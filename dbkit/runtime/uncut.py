"""A coroutine that no cancellation cuts: it begins in its caller's task, and goes on in another if that is cancelled.

A task of its own from the start would be simpler, and cost two more turns of the loop each time; nearly always nobody
is cancelled. Invariants:

1. The coroutine never sees a cancellation of the task that drives it, nor does the future that it waits for.
2. One task drives it at a time: whoever is cancelled lets go, and only then another may take it up.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

T = TypeVar("T")


class Uncut(Generic[T]):
    """Await it; if that is cancelled, await it once more elsewhere, and it goes on where it was.

    The coroutine must not ask for its task (``asyncio.timeout`` does): it may change.

    Args:
        coroutine: not begun yet.
    """

    __slots__ = ("_coroutine", "_waits_for", "is_over")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._waits_for: asyncio.Future[Any] | None = None
        self.is_over = False
        """The coroutine has ended, well or not."""

    def __await__(self) -> Generator[Any, None, T]:
        while True:
            if self._waits_for is None:
                try:
                    self._waits_for = self._coroutine.send(None)
                except StopIteration as end:
                    self.is_over = True
                    result: T = end.value
                    return result
                except BaseException:
                    self.is_over = True
                    raise
            future = self._waits_for
            if future is None:  # a turn of the loop, no more
                yield
                continue
            pane = _Pane(future)
            try:
                yield pane
            except BaseException as error:
                if not _is_its_own(error, future):  # the task's: it was cancelled, perhaps as the future ended
                    raise
            self._waits_for = None  # the coroutine itself sees how it ended

    async def to_its_end(self) -> T:
        """The same, for a task."""
        return await self


def _is_its_own(error: BaseException, future: asyncio.Future[Any]) -> bool:
    if not future.done():
        return False
    return isinstance(error, asyncio.CancelledError) if future.cancelled() else future.exception() is error


class _Pane:
    """A future behind glass. A task that waits for it is woken as by the future itself, in the same turn of the loop;
    a cancellation of the task does not get through. Has what a task asks of a future, and no more."""

    __slots__ = ("_asyncio_future_blocking", "_context", "_cut", "_future", "_message", "_wake")

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._future = future
        self._asyncio_future_blocking = True
        self._wake: Callable[[Any], object]
        self._context: Context | None
        self._message: object
        self._cut = False

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The future's."""
        return self._future.get_loop()

    def add_done_callback(self, wake: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Called once, by the task that begins to wait."""
        self._wake, self._context = wake, context
        self._future.add_done_callback(wake, context=context)

    def cancel(self, msg: object = None) -> bool:
        """Wake the task, and leave the future alone."""
        if self._cut or self._future.done():
            return False
        self._future.remove_done_callback(self._wake)
        self._cut, self._message = True, msg
        self.get_loop().call_soon(self._wake, self, context=self._context)
        return True

    def result(self) -> None:
        """Asked only once the task was cancelled."""
        if self._message is None:
            raise asyncio.CancelledError
        raise asyncio.CancelledError(self._message)  # by which anyio knows its own
