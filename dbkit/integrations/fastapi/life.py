"""The manager lives as long as the application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final

from anyio import CancelScope, to_thread

from dbkit.core.holding import tell
from dbkit.manager import DatabaseConnectionManager

logger = logging.getLogger("dbkit.fastapi")

STATE: Final = "dbkit"
"""The key of the manager in the application's lifespan state."""


def lifespan(
    db: DatabaseConnectionManager | Callable[[], DatabaseConnectionManager],
    *,
    warm: bool = True,
    migrate: bool = False,
    close_timeout: float = 5.0,
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """Give the application its database: ``FastAPI(lifespan=lifespan(db))``.

    Starting and ending block no event loop: they run on a thread. With a lifespan of your own, enter this one in it,
    and yield what it gives, together with your own state::

        @asynccontextmanager
        async def my_lifespan(app):
            async with lifespan(db)(app) as state:
                yield {**state, "mine": ...}

    Args:
        db: the manager; or what makes it, which is then called at each start: for a test suite that starts the
            application more than once, or a server that loads it before it forks.
        warm: open ``min_size`` connections before the first request, and refuse to start if that cannot be done.
        migrate: bring the database to the newest revision first (``db.migrate()``); processes that start together take
            turns.
        close_timeout: seconds to wait at the end for connections that are still out.

    Raises:
        at the start of the application, what ``db.migrate()`` and ``db.warm_up()`` raise.
    """

    @asynccontextmanager
    async def life(app: Any) -> AsyncIterator[dict[str, Any]]:
        manager = db if isinstance(db, DatabaseConnectionManager) else await to_thread.run_sync(db)
        try:
            if migrate:
                await to_thread.run_sync(manager.migrate)
            if warm:
                await to_thread.run_sync(manager.warm_up)
            yield {STATE: manager}
        finally:
            with CancelScope(shield=True):  # the server may be in a hurry; this is bounded in time
                holders = await to_thread.run_sync(partial(manager.close_connections, close_timeout))
            if holders:
                logger.warning("The application ended with %d connections still out:%s", len(holders), tell(holders))

    return life
