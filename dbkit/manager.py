"""``DatabaseConnectionManager``: everything an application asks of PostgreSQL, through one pool. It only delegates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from dbkit import engine as _engine
from dbkit import manager_arguments as arguments
from dbkit.core.policy import PoolNumbers
from dbkit.credentials.base import without_tracebacks
from dbkit.settings import DatabaseSettings
from dbkit.work import Work

if TYPE_CHECKING:
    from types import TracebackType

    from alembic.config import Config
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session, sessionmaker

    from dbkit.core.holding import Holder
    from dbkit.core.stats import PoolStats
    from dbkit.credentials.resolve import Given
    from dbkit.pool.elastic import ElasticPool
    from dbkit.settings.model import Source


class DatabaseConnectionManager(Work):
    """Sessions, queries, driver connections and migrations on one PostgreSQL database, all out of one ``ElasticPool``.

    ::

        with DatabaseConnectionManager("postgresql://user:pass@localhost/test_db", max_size=20) as db:
            rows = db.execute_query("SELECT id, name FROM users WHERE active = :active", {"active": True})

    Making one opens no connection, unless ``warm``. Thread-safe: an application makes one and shares it. After a fork
    the child may go on using it; its pool starts empty.

    Args:
        connection_details: a URL, a mapping, SQLAlchemy's URL object, or ``DatabaseSettings``; None for what the
            environment and ``.env`` say.
        credential: gives the password or token for each connection attempt, in place of a fixed password: one of
            ``dbkit.credentials``, any object with a method ``current()``, or a callable without arguments that returns
            a password or a ``Token(value, expires_at)``; or the name of one, as in the settings (``"azure"``, ...).
        allow_insecure_token: send tokens over a network also without ``sslmode=verify-full``, so that an impostor of
            the server gets them. None for what the settings say, which is no by default.
        warm: open ``min_size`` connections now, in parallel, and fail now if that cannot be done.
        engine_options: further arguments for ``sqlalchemy.create_engine`` (``echo``, ``json_serializer``, ...).
        numbers: the pool's numbers, times in seconds; each goes over what the settings say: ``min_size``, ``max_size``,
            ``timeout``, ``max_waiting``, ``max_idle``, ``max_lifetime``, ``keepalive``, ``reconnect_timeout``,
            ``fair_after``, ``leak_after``. See ``PoolPolicy``.

    Raises:
        TypeError: a keyword that is none of these.
        SettingsError: naming everything that is wrong with the settings.
        CredentialError: the credential's package is missing; or ``warm``, and no token could be had.
        sqlalchemy.exc.OperationalError: ``warm``, and the server could not be reached or refused.
        PoolTimeoutError: ``warm``, and it took longer than ``timeout``.
    """

    def __init__(
        self,
        connection_details: Source | DatabaseSettings | None = None,
        *,
        credential: Given | str | None = None,
        allow_insecure_token: bool | None = None,
        warm: bool = False,
        engine_options: Mapping[str, Any] | None = None,
        **numbers: Unpack[PoolNumbers],
    ) -> None:
        wrong = arguments.wrong_keyword("DatabaseConnectionManager()", numbers)
        # Any of these may hold a password in the clear, and error trackers record the locals of a traceback's frames:
        # they are given away before anything can fail, and the frames below are taken out of what is raised.
        given = [
            (
                connection_details,
                arguments.overrides(numbers, credential, allow_insecure_token),
                credential,
                engine_options,
            )
        ]
        del connection_details, numbers, credential, engine_options
        if wrong is not None:
            given.clear()
            raise TypeError(wrong)
        try:
            self._set_up(*given.pop())
        except BaseException as error:  # noqa: BLE001 - passed on
            raise without_tracebacks(error)  # noqa: B904 - it is the same error
        if warm:
            try:
                self.warm_up()
            except BaseException:
                self.close_connections(timeout=0)
                raise

    def _set_up(
        self,
        details: Source | DatabaseSettings | None,
        overrides: dict[str, Any],
        credential: Given | str | None,
        engine_options: Mapping[str, Any] | None,
    ) -> None:
        if isinstance(details, DatabaseSettings):
            self._settings = details.replace(**overrides) if overrides else details
        else:
            self._settings = DatabaseSettings.load(details, **overrides)
        self._credential = None if isinstance(credential, str) else credential
        self._engine_options = dict(engine_options or {})
        engine = _engine.build_engine(self._settings, credential=self._credential, engine_options=self._engine_options)
        super().__init__(engine)

    @classmethod
    def from_ini(
        cls,
        path: str | os.PathLike[str],
        section: str = "postgresql",
        *,
        credential: Given | str | None = None,
        allow_insecure_token: bool | None = None,
        warm: bool = False,
        engine_options: Mapping[str, Any] | None = None,
        **numbers: Unpack[PoolNumbers],
    ) -> Self:
        """A manager whose weakest source is a section of an INI file; the environment and ``.env`` go over it.

        Args:
            path: the file.
            section: its section.
            credential, allow_insecure_token, warm, engine_options, numbers: as for the constructor.

        Raises:
            SettingsError: naming everything that is wrong, a missing file or section too.
            TypeError: as for the constructor.
        """
        wrong = arguments.wrong_keyword("DatabaseConnectionManager.from_ini()", numbers)
        chosen = [None if isinstance(credential, str) else credential]
        given = [
            (arguments.overrides(numbers, credential, allow_insecure_token), engine_options)
        ]  # as in the constructor
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
    def engine(self) -> Engine:
        """The SQLAlchemy engine. Its URL shows no secret."""
        return self._engine

    @property
    def pool(self) -> ElasticPool:
        """The engine's pool, which every connection comes from."""
        return cast("ElasticPool", self._engine.pool)

    @property
    def sessions(self) -> sessionmaker[Session]:
        """Makes sessions for those who close them themselves; ``sessions.configure(...)`` sets their options."""
        return self._sessions

    # ---- migrations

    def migrate(
        self,
        revision: str = "head",
        *,
        config: str | os.PathLike[str] | Config | None = None,
        script_location: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Upgrade the database to ``revision`` with Alembic, one process at a time. See ``dbkit.migrate.upgrade``.

        Raises:
            MigrationError: see ``dbkit.migrate.upgrade``.
        """
        from dbkit import migrate  # Alembic is slow to import

        migrate.upgrade(self, revision, config=config, script_location=script_location, timeout=timeout)

    def downgrade(
        self,
        revision: str,
        *,
        config: str | os.PathLike[str] | Config | None = None,
        script_location: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Downgrade the database to ``revision`` (``-1``, ``base``, ...). See ``dbkit.migrate.downgrade``.

        Raises:
            MigrationError: see ``dbkit.migrate.upgrade``.
        """
        from dbkit import migrate

        migrate.downgrade(self, revision, config=config, script_location=script_location, timeout=timeout)

    def migration_engine(self) -> AbstractContextManager[Engine]:
        """The engine that migrations use, for a block: this one's, or one for ``DB_MIGRATION_URL`` where that is set.

        Raises:
            SettingsError: the URL and the other settings do not go together.
        """
        return _engine.migration_engine(
            self._engine, self._settings, credential=self._credential, engine_options=self._engine_options
        )

    # ---- the pool

    def stats(self) -> PoolStats:
        """The pool at this moment."""
        return self.pool.stats()

    def warm_up(self, timeout: float | None = None) -> None:
        """Open ``min_size`` connections, in parallel, and return when they are there.

        Args:
            timeout: seconds to wait in all; the pool's ``timeout`` if None.

        Raises:
            sqlalchemy.exc.OperationalError: the server could not be reached or refused.
            PoolTimeoutError: they were not there in time.
        """
        _engine.warm_up(self._engine, timeout)

    def rotate(self) -> None:
        """Replace every connection by one that logs in with a fresh password or token. See ``engine.rotate``.

        Borrowers do not notice: new connections are opened before old ones are closed, and those that are out are
        replaced when they come back. Returns once there is a fresh password or token; the pool goes on replacing
        connections in the background.

        Raises:
            CredentialError: no fresh token could be had; nothing was changed.
        """
        _engine.rotate(self._engine)

    def close_connections(self, timeout: float = 5.0) -> tuple[Holder, ...]:
        """Close everything for good. May be called again; every other use then raises ``PoolClosedError``.

        Args:
            timeout: seconds to wait for connections that are out.

        Returns:
            Who still holds a connection after that; such a connection is closed when it comes back.
        """
        return self.pool.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_connections()

    def __repr__(self) -> str:
        if not hasattr(self, "_engine"):  # a debugger or an error tracker looks at a constructor that failed
            return f"<{type(self).__name__}, not set up>"
        return f"<{type(self).__name__} {self._settings.target}, {self.pool.status()}>"
