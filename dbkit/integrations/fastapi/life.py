"""The manager lives as long as the application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final, TypeAlias

from anyio import CancelScope, to_thread

from dbkit.core.holding import tell
from dbkit.manager import DatabaseConnectionManager
from dbkit.manager_asyncio import AsyncDatabaseConnectionManager

logger = logging.getLogger("dbkit.fastapi")

Manager: TypeAlias = DatabaseConnectionManager | AsyncDatabaseConnectionManager

STATE: Final = "dbkit"
"""The key of the manager in the application's lifespan state."""


def lifespan(
    db: Manager | Callable[[], Manager],
    *,
    warm: bool = True,
    migrate: bool = False,
    close_timeout: float = 5.0,
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """Give the application its database: ``FastAPI(lifespan=lifespan(db))``.

    Starting and ending block no event loop: those of a ``DatabaseConnectionManager`` run on a thread. With a lifespan
    of your own, enter this one in it, and yield what it gives, together with your own state::

        @asynccontextmanager
        async def my_lifespan(app):
            async with lifespan(db)(app) as state:
                yield {**state, "mine": ...}

    Args:
        db: the manager, of either kind; or what makes it, which is then called at each start: for a test suite that
            starts the application more than once, or a server that loads it before it forks.
        warm: open ``min_size`` connections before the first request, and refuse to start if that cannot be done.
        migrate: bring the database to the newest revision first (``db.migrate()``); processes that start together take
            turns.
        close_timeout: seconds to wait at the end for connections that are still out.

    Raises:
        at the start of the application, what ``db.migrate()`` and ``db.warm_up()`` raise.
    """

    @asynccontextmanager
    async def life(app: Any) -> AsyncIterator[dict[str, Any]]:
        manager = db if isinstance(db, Manager) else await to_thread.run_sync(db)
        try:
            if migrate:
                await _do(manager.migrate)
            if warm:
                await _do(manager.warm_up)
            yield {STATE: manager}
        finally:
            with CancelScope(shield=True):  # the server may be in a hurry; this is bounded in time
                holders = await _do(partial(manager.close_connections, close_timeout))
            if holders:
                logger.warning("The application ended with %d connections still out:%s", len(holders), tell(holders))

    return life


async def _do(what: Callable[[], Any]) -> Any:
    """Call what may block: on the event loop if it was made for that, else on a thread."""
    if iscoroutinefunction(what.func if isinstance(what, partial) else what):
        return await what()
    return await to_thread.run_sync(what)
