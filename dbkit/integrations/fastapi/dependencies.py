"""What a path operation asks for: the manager, or a session that is committed before the response is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection

from dbkit.errors import DbkitError
from dbkit.integrations.fastapi.life import STATE, Manager
from dbkit.manager import DatabaseConnectionManager
from dbkit.manager_asyncio import AsyncDatabaseConnectionManager
from dbkit.runtime.endpoints import current as endpoint


async def manager(connection: HTTPConnection) -> Manager:
    """The application's manager, of either kind.

    From here on, what the request borrows counts for its route in ``pool.profile()``.

    Raises:
        DbkitError: the application was not given one, or its lifespan has not run.
    """
    found = getattr(connection.state, STATE, None)
    if not isinstance(found, Manager):
        raise DbkitError(
            "this application has no database: make it with FastAPI(lifespan=lifespan(db)), from "
            "dbkit.integrations.fastapi. In tests, enter the client (`with TestClient(app) as client:`), since only "
            "then the lifespan runs"
        )
    route = connection.scope.get("route")
    if route is not None:  # in the request's own context, which its threads get a copy of
        endpoint.set(f"{connection.scope.get('method', 'WEBSOCKET')} {route.path}")
    return found


async def database(connection: HTTPConnection) -> DatabaseConnectionManager:
    """The application's manager: ``db: Annotated[DatabaseConnectionManager, Depends(database)]``.

    Raises:
        DbkitError: the application was not given one, its lifespan has not run, or it is one for event loops.
    """
    found = await manager(connection)
    if not isinstance(found, DatabaseConnectionManager):
        raise DbkitError(
            "this application's manager is an AsyncDatabaseConnectionManager: use AsyncSessionDep or async_database"
        )
    return found


async def async_database(connection: HTTPConnection) -> AsyncDatabaseConnectionManager:
    """As ``database``, for an application with an ``AsyncDatabaseConnectionManager``."""
    found = await manager(connection)
    if not isinstance(found, AsyncDatabaseConnectionManager):
        raise DbkitError("this application's manager is a DatabaseConnectionManager: use SessionDep or database")
    return found


AnyDatabase = Annotated[Manager, Depends(manager)]
AsyncDatabase = Annotated[AsyncDatabaseConnectionManager, Depends(async_database)]
Database = Annotated[DatabaseConnectionManager, Depends(database)]


def session_dependency(
    *, read_only: bool = False, isolation_level: str | None = None, timeout: float | None = None
) -> Any:
    """A dependency with a session: ``session: Annotated[Session, session_dependency(read_only=True)]``.

    The session is committed when the path operation has returned, and before the response is sent: a commit that fails
    becomes an error of the request, and whoever got an answer finds what was written. If the operation raises, it is
    rolled back. A connection is borrowed at the first statement.

    The session is a blocking one: use it in path operations made by ``def``, which FastAPI runs on threads.

    Args:
        read_only, isolation_level, timeout: as for ``db.session_scope``.
    """
    return Depends(
        _opens_session(read_only=read_only, isolation_level=isolation_level, timeout=timeout), scope="function"
    )


def _opens_session(
    *, read_only: bool, isolation_level: str | None, timeout: float | None
) -> Callable[[Database], Iterator[Session]]:
    def session(found: Database) -> Iterator[Session]:
        with found.session_scope(read_only=read_only, isolation_level=isolation_level, timeout=timeout) as opened:
            yield opened

    return session


SessionDep = Annotated[Session, session_dependency()]
"""A session of the request: ``def movies(session: SessionDep): ...``. See ``session_dependency``."""


def async_session_dependency(
    *, read_only: bool = False, isolation_level: str | None = None, timeout: float | None = None
) -> Any:
    """As ``session_dependency``, with an ``AsyncSession``, for path operations made by ``async def``.

    A request that is cancelled loses no connection, and commits nothing.

    Args:
        read_only, isolation_level, timeout: as for ``db.session_scope``.
    """

    async def session(found: AsyncDatabase) -> AsyncIterator[AsyncSession]:
        async with found.session_scope(read_only=read_only, isolation_level=isolation_level, timeout=timeout) as opened:
            yield opened

    return Depends(session, scope="function")


AsyncSessionDep = Annotated[AsyncSession, async_session_dependency()]
"""An ``AsyncSession`` of the request. See ``async_session_dependency``."""
