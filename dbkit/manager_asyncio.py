"""``AsyncDatabaseConnectionManager``: everything an application on an event loop asks of PostgreSQL. Only delegates."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from dbkit import engine as _engine
from dbkit import manager_arguments as arguments
from dbkit.core.policy import PoolNumbers
from dbkit.credentials.awaited import AwaitedCredential, asynchronous
from dbkit.credentials.base import without_tracebacks
from dbkit.pool.internals import creator_of
from dbkit.session.asyncio import AsyncSessions
from dbkit.settings import DatabaseSettings
from dbkit.work_asyncio import AsyncWork

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from alembic.config import Config
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from dbkit.connector_asyncio import AsyncConnector
    from dbkit.core.holding import Holder
    from dbkit.core.stats import PoolStats
    from dbkit.credentials.resolve import Given
    from dbkit.pool.elastic_asyncio import AsyncElasticPool
    from dbkit.settings.model import Source


class AsyncDatabaseConnectionManager(AsyncWork):
    """``DatabaseConnectionManager`` on an event loop: the same settings, credentials, names and errors.

    ::

        async with AsyncDatabaseConnectionManager("postgresql://user:pass@localhost/test_db", max_size=20) as db:
            rows = await db.execute_query("SELECT id, name FROM users WHERE active = :active", {"active": True})

    Making one opens no connection. An application makes one and shares it among the tasks of one event loop; when that
    is closed, the next one may go on with it. The driver is psycopg 3, or asyncpg where the URL or ``driver`` says so.

    Args:
        connection_details: a URL, a mapping, SQLAlchemy's URL object, or ``DatabaseSettings``; None for what the
            environment and ``.env`` say.
        credential: as for ``DatabaseConnectionManager``; also a coroutine function, which is awaited. Any other is
            asked on a thread of its own.
        allow_insecure_token: as for ``DatabaseConnectionManager``.
        warm: open ``min_size`` connections when the ``async with`` block begins, and fail then if that cannot be done.
        engine_options: further arguments for ``sqlalchemy.ext.asyncio.create_async_engine``.
        numbers: the pool's numbers. See ``PoolPolicy``.

    Raises:
        TypeError: a keyword that is none of these.
        SettingsError: naming everything that is wrong with the settings.
        CredentialError, DriverMissingError: a package is missing; the message names the extra.
    """

    def __init__(
        self,
        connection_details: Source | DatabaseSettings | None = None,
        *,
        credential: Given | Callable[[], Awaitable[Any]] | str | None = None,
        allow_insecure_token: bool | None = None,
        warm: bool = False,
        engine_options: Mapping[str, Any] | None = None,
        **numbers: Unpack[PoolNumbers],
    ) -> None:
        wrong = arguments.wrong_keyword("AsyncDatabaseConnectionManager()", numbers)
        overrides = arguments.overrides(numbers, credential, allow_insecure_token)
        given = [(connection_details, overrides, credential, engine_options)]  # as in DatabaseConnectionManager
        del connection_details, numbers, overrides, credential, engine_options
        if wrong is not None:
            given.clear()
            raise TypeError(wrong)
        self._warm = warm
        try:
            self._set_up(*given.pop())
        except BaseException as error:  # noqa: BLE001 - passed on
            raise without_tracebacks(error)  # noqa: B904 - it is the same error

    def _set_up(
        self,
        details: Source | DatabaseSettings | None,
        overrides: dict[str, Any],
        credential: Given | Callable[[], Awaitable[Any]] | str | None,
        engine_options: Mapping[str, Any] | None,
    ) -> None:
        if isinstance(details, DatabaseSettings):
            self._settings = details.replace(**overrides) if overrides else details
        else:
            self._settings = DatabaseSettings.load(details, **overrides)
        awaited = asynchronous(credential)
        chosen = AwaitedCredential(awaited) if awaited is not None else credential
        self._credential = None if isinstance(chosen, str) else cast("Given | None", chosen)
        self._engine_options = dict(engine_options or {})
        engine = _engine.build_engine(
            self._settings, credential=self._credential, engine_options=self._engine_options, on_loop=True
        )
        self._engine = AsyncEngine(engine)
        super().__init__(engine)
        self._sessions = AsyncSessions(self._engine, sync_session_class=self._work.session_class)
        self._sessions.also(self._work.configure_sessions)

    @classmethod
    def from_ini(
        cls,
        path: str | os.PathLike[str],
        section: str = "postgresql",
        *,
        credential: Given | Callable[[], Awaitable[Any]] | str | None = None,
        allow_insecure_token: bool | None = None,
        warm: bool = False,
        engine_options: Mapping[str, Any] | None = None,
        **numbers: Unpack[PoolNumbers],
    ) -> Self:
        """A manager whose weakest source is a section of an INI file. See ``DatabaseConnectionManager.from_ini``."""
        wrong = arguments.wrong_keyword("AsyncDatabaseConnectionManager.from_ini()", numbers)
        chosen = [None if isinstance(credential, str) else credential]
        given = [(arguments.overrides(numbers, credential, allow_insecure_token), engine_options)]
        del numbers, credential, engine_options
        if wrong is not None:
            given.clear()
            raise TypeError(wrong)
        try:
            settings = DatabaseSettings.from_ini(path, section, **given[0][0])
            return cls(settings, credential=chosen.pop(), warm=warm, engine_options=given.pop()[1])
        except BaseException as error:  # noqa: BLE001 - passed on
            given.clear()
            raise without_tracebacks(error)  # noqa: B904 - it is the same error

    # ---- parts

    @property
    def settings(self) -> DatabaseSettings:
        """Who connects to what, and the pool's numbers, each with its origin."""
        return self._settings

    @property
    def engine(self) -> AsyncEngine:
        """The SQLAlchemy engine. Its URL shows no secret."""
        return self._engine

    @property
    def pool(self) -> AsyncElasticPool:
        """The engine's pool, which every connection comes from."""
        return cast("AsyncElasticPool", self._engine.pool)

    @property
    def sessions(self) -> async_sessionmaker[AsyncSession]:
        """Makes sessions for those who close them themselves; ``sessions.configure(...)`` sets their options, and
        those of the scopes."""
        return self._sessions

    # ---- migrations

    async def migrate(
        self,
        revision: str = "head",
        *,
        config: str | os.PathLike[str] | Config | None = None,
        script_location: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Upgrade the database to ``revision`` with Alembic, one process at a time. See ``dbkit.migrate.upgrade``.

        Alembic is synchronous, so it runs on a thread, over a connection of its own beside the pool's. A migration that
        has begun is not cut off by a cancellation.
        """
        await self._migrate("migrate", revision, config, script_location, timeout)

    async def downgrade(
        self,
        revision: str,
        *,
        config: str | os.PathLike[str] | Config | None = None,
        script_location: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Downgrade the database to ``revision`` (``-1``, ``base``, ...). See ``migrate``."""
        await self._migrate("downgrade", revision, config, script_location, timeout)

    async def _migrate(self, which: str, revision: str, config: Any, script_location: Any, timeout: Any) -> None:
        from dbkit.manager import DatabaseConnectionManager

        credential = self._credential
        if isinstance(credential, AwaitedCredential):
            credential.loop = asyncio.get_running_loop()
        driver = {"driver": "psycopg2"} if self._settings.driver == "asyncpg" else {}

        def run() -> None:
            settings = self._settings.replace(**driver, min_size=0, max_size=1)
            with DatabaseConnectionManager(settings, credential=credential) as db:
                getattr(db, which)(revision, config=config, script_location=script_location, timeout=timeout)

        task = asyncio.ensure_future(asyncio.to_thread(run))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait((task,))
            raise

    # ---- the pool

    def stats(self) -> PoolStats:
        """The pool at this moment."""
        return self.pool.stats()

    def holders(self) -> tuple[Holder, ...]:
        """Who has a connection: which task, for how long, and where it is now. The oldest first."""
        return self.pool.holders()

    async def warm_up(self, timeout: float | None = None) -> None:
        """Open ``min_size`` connections, in parallel. See ``DatabaseConnectionManager.warm_up``."""
        self.pool.bind()
        await greenlet_spawn(_engine.warm_up, self._engine.sync_engine, timeout)

    async def rotate(self) -> None:
        """Replace every connection by one that logs in with a fresh password or token.

        See ``DatabaseConnectionManager.rotate``.
        """
        await cast("AsyncConnector", creator_of(self.pool)).renew_awaited()
        self.pool.drain()

    async def close_connections(self, timeout: float = 5.0) -> tuple[Holder, ...]:
        """Close everything for good. See ``DatabaseConnectionManager.close_connections``."""
        return await self.pool.close(timeout)

    async def __aenter__(self) -> Self:
        if self._warm:
            try:
                await self.warm_up()
            except BaseException:
                await self.close_connections(timeout=0)
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close_connections()

    def __repr__(self) -> str:
        if not hasattr(self, "_engine"):  # a debugger or an error tracker looks at a constructor that failed
            return f"<{type(self).__name__}, not set up>"
        return f"<{type(self).__name__} {self._settings.target}, {self.pool.status()}>"
