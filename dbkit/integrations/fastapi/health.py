"""``/livez`` and ``/readyz``: is the process alive, and may it have requests.

The first never touches the database: an outage of the database must not get every process of the application killed.
The second does, within a short deadline, and on a thread of its own: it answers when all other threads are stuck.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse

from dbkit.errors import MigrationError
from dbkit.integrations.fastapi.dependencies import Database
from dbkit.manager import DatabaseConnectionManager
from dbkit.pool.errors import DeadlineExceeded, LineFullError, PoolClosedError, PoolTimeoutError

if TYPE_CHECKING:
    from alembic.config import Config

logger = logging.getLogger("dbkit.fastapi")


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """An answer of ``/readyz``.

    Attributes:
        reason: why the application is not ready, without secrets and addresses; empty if it is.
        seconds: how long that took to find out.
    """

    reason: str
    seconds: float


class ReadinessCheck:
    """Finds out whether the application is ready. One for each router.

    Args:
        migrations: the ``alembic.ini`` or ``Config`` whose newest revision the database must have; None for none.
        within: seconds in all.
    """

    def __init__(self, migrations: str | os.PathLike[str] | Config | None, within: float) -> None:
        self._migrations = migrations
        self._within = within
        self._migrated = migrations is None
        """Once the database has the newest revision of these scripts, it is not asked again."""

    def ask(self, manager: DatabaseConnectionManager) -> Readiness:
        """Ask the database. Bounded in time; raises nothing."""
        began = monotonic()
        try:
            with manager.deadline(self._within):
                manager.execute_query("SELECT 1")
                reason = "" if self._migrated else self._missing(manager)
        except (DeadlineExceeded, PoolTimeoutError):
            reason = f"the database did not answer within {self._within:g} s"
        except PoolClosedError:
            reason = "the pool is closed"
        except LineFullError:
            reason = "too many requests wait for a connection"
        except SQLAlchemyError as error:
            logger.warning("Not ready: %s", error)
            reason = "the database cannot be used; the log says why"
        except MigrationError as error:
            logger.warning("Not ready: %s", error)
            reason = "the state of the migrations is not known; the log says why"
        return Readiness(reason=reason, seconds=monotonic() - began)

    def _missing(self, manager: DatabaseConnectionManager) -> str:
        from dbkit.migrate import history  # Alembic is slow to import

        missing = [found.revision for found in history(manager, config=self._migrations) if not found.applied]
        self._migrated = not missing
        return f"migrations are missing, up to {missing[0]}" if missing else ""


def health_router(
    *, migrations: str | os.PathLike[str] | Config | None = None, ready_within: float = 1.0, prefix: str = ""
) -> APIRouter:
    """A router with ``/livez`` and ``/readyz``.

    ``/readyz`` answers 200 while a connection works (and the migrations are there), else 503 with the reason.

    Args:
        migrations: the ``alembic.ini`` whose newest revision the database must have; None: migrations are not looked
            at.
        ready_within: seconds after which the database counts as not answering.
        prefix: for the paths.
    """
    router = APIRouter(prefix=prefix, tags=["health"])
    ready = ReadinessCheck(migrations, ready_within)

    @router.get("/livez")
    async def livez() -> dict[str, bool]:
        """The process answers."""
        return {"alive": True}

    @router.get("/readyz", responses={503: {"description": "not ready; the reason stands in the answer"}})
    async def readyz(db: Database) -> Any:
        """The process can serve requests."""
        found = await to_thread.run_sync(ready.ask, db, limiter=CapacityLimiter(1))  # no place among the requests'
        body = {"ready": not found.reason, "reason": found.reason, "seconds": round(found.seconds, 4)}
        return JSONResponse(body, status_code=503 if found.reason else 200)

    return router
