"""What a path operation asks for: the manager, or a session that is committed before the response is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from fastapi import Depends
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection

from dbkit.errors import DbkitError
from dbkit.integrations.fastapi.life import STATE
from dbkit.manager import DatabaseConnectionManager
from dbkit.runtime.endpoints import current as endpoint


async def database(connection: HTTPConnection) -> DatabaseConnectionManager:
    """The application's manager: ``db: Annotated[DatabaseConnectionManager, Depends(database)]``.

    From here on, what the request borrows counts for its route in ``pool.profile()``.

    Raises:
        DbkitError: the application was not given one, or its lifespan has not run.
    """
    manager = getattr(connection.state, STATE, None)
    if not isinstance(manager, DatabaseConnectionManager):
        raise DbkitError(
            "this application has no database: make it with FastAPI(lifespan=lifespan(db)), from "
            "dbkit.integrations.fastapi. In tests, enter the client (`with TestClient(app) as client:`), since only "
            "then the lifespan runs"
        )
    route = connection.scope.get("route")
    if route is not None:  # in the request's own context, which its threads get a copy of
        endpoint.set(f"{connection.scope.get('method', 'WEBSOCKET')} {route.path}")
    return manager


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
    def session(manager: Database) -> Iterator[Session]:
        with manager.session_scope(read_only=read_only, isolation_level=isolation_level, timeout=timeout) as opened:
            yield opened

    return session


SessionDep = Annotated[Session, session_dependency()]
"""A session of the request: ``def movies(session: SessionDep): ...``. See ``session_dependency``."""
