"""A credential whose provider is asynchronous. Cached, asked once for all and bounded as every remote one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import TimeoutError as TooLate
from typing import Any

from dbkit.credentials.base import Token
from dbkit.credentials.errors import CredentialError
from dbkit.credentials.simple import CallableCredential
from dbkit.settings.secret import Secret


class AwaitedCredential(CallableCredential):
    """Awaits a coroutine function without arguments, which returns a password or a ``Token(value, expires_at)``.

    For ``AsyncDatabaseConnectionManager``, on whose event loop it is awaited.

    Args:
        function: the coroutine function.
        timeout: seconds that a connection attempt waits for it.

    Attributes:
        loop: the event loop that connects now.
    """

    def __init__(self, function: Callable[[], Awaitable[Any]], *, timeout: float = 10.0) -> None:
        super().__init__(function, timeout=timeout)  # type: ignore[arg-type]  # its answer is awaited below
        self.loop: asyncio.AbstractEventLoop | None = None

    def fetch(self) -> str | Secret | Token:
        """Have the loop await it; this thread waits."""
        loop = self.loop
        if loop is None or loop.is_closed():
            raise CredentialError(f"{self!r} is asynchronous and needs an event loop: AsyncDatabaseConnectionManager")
        answer = asyncio.run_coroutine_threadsafe(_awaited(self._function), loop)
        try:
            found: str | Secret | Token = answer.result(self.timeout)
            return found
        except TooLate:
            answer.cancel()
            raise


async def _awaited(function: Callable[[], Any]) -> Any:
    return await function()


def asynchronous(given: object) -> Callable[[], Awaitable[Any]] | None:
    """The coroutine function that an application gave as its credential, or that is its ``current``; None for none."""
    for function in (given, getattr(given, "current", None), getattr(given, "__call__", None)):  # noqa: B004
        if inspect.iscoroutinefunction(function):
            return function
    return None
