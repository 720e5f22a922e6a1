"""``Connector`` on an event loop: nothing in it keeps the loop waiting.

A synchronous credential is asked on a thread of its own, since its SDK may hang; an asynchronous one is awaited.
"""

from __future__ import annotations

import _thread
import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.util import await_only

from dbkit.connector import Connector
from dbkit.credentials.awaited import AwaitedCredential

if TYPE_CHECKING:
    from dbkit.runtime.addresses import Addresses

T = TypeVar("T")


class AsyncConnector(Connector):
    """Opens one connection when it is called in a greenlet: the creator of an ``AsyncElasticPool``."""

    __slots__ = ()

    def _ask(self, question: Callable[[], T]) -> T:
        credential = self._credential
        if credential is None or credential.fixed:
            return question()
        if isinstance(credential, AwaitedCredential):
            credential.loop = asyncio.get_running_loop()
        return await_only(on_a_thread(question))

    def _count(self, addresses: Addresses) -> int:
        return await_only(on_a_thread(addresses.count)) if addresses.names else addresses.count()

    def _pause(self, seconds: float) -> None:
        await_only(asyncio.sleep(seconds))

    def _gate(self) -> AbstractContextManager[None]:
        return nullcontext()  # no library's lock is held between two steps of a connect

    async def renew_awaited(self) -> None:
        """As ``renew``, without keeping the loop waiting."""
        if isinstance(self._credential, AwaitedCredential):
            self._credential.loop = asyncio.get_running_loop()
        await on_a_thread(self.renew)


async def on_a_thread(question: Callable[[], T]) -> T:
    """Call a function that may block on a daemon thread of its own. Cancelled, its answer is dropped.

    Not in the loop's executor: a provider that hangs would take one of its few threads from everybody else.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def ask() -> None:
        try:
            found: Any = question()
        except BaseException as error:  # noqa: BLE001 - passed on
            _tell(loop, answer, answer.set_exception, error)
        else:
            _tell(loop, answer, answer.set_result, found)

    _thread.start_new_thread(ask, ())
    return await answer


def _tell(
    loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Any], put: Callable[[Any], None], found: object
) -> None:
    try:
        loop.call_soon_threadsafe(lambda: None if answer.done() else put(found))
    except RuntimeError:  # the loop was closed meanwhile
        pass
