"""``DatabasePool``: one pool for the process, set up by arguments."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dbkit.dropin.shared_pool import SharedPool
from dbkit.dropin.unwrap import LEAK_AFTER
from dbkit.settings import DatabaseSettings
from dbkit.settings.sources import concealed

if TYPE_CHECKING:
    import psycopg2.extensions

logger = logging.getLogger("dbkit.dropin")

_pool = SharedPool(
    "DatabasePool",
    absent="DatabasePool not initialized",
    present="DatabasePool already initialized",
)


class DatabasePool:
    """One pool of psycopg2 connections for the whole process. Thread-safe; a forked child may go on using it."""

    @staticmethod
    def initialize(
        host: str | None = "localhost",
        port: int | str | None = 5432,
        dbname: str | None = "postgres",
        user: str | None = "postgres",
        password: str | None = "mysecretpassword",
        min_connections: int = 2,
        max_connections: int = 10,
    ) -> None:
        """Make the pool and open ``min_connections`` connections.

        Args:
            host, port, dbname, user, password: the server, and who logs in; these go over the environment, which may
                give what is no argument here (``DB_SSLMODE``, ``DB_TIMEOUT``, ...). None leaves one to the environment.
            min_connections: connections kept open.
            max_connections: connections there may be at most.

        Raises:
            AlreadyInitializedError: there is a pool; close it before.
            SettingsError: naming everything that is wrong with the settings.
            psycopg2.OperationalError: the server could not be reached or refused. There is no pool then.
        """
        server: dict[str, object] = {"host": host, "port": port, "dbname": dbname, "user": user}
        if password is not None:
            server["password"] = concealed(password)
        del password  # error trackers record the local variables of a call that fails

        def load() -> DatabaseSettings:
            settings = DatabaseSettings.load(
                server,
                url_variable=None,
                defaults={"leak_after": LEAK_AFTER},
                min_conn=min_connections,
                max_conn=max_connections,
            )
            logger.info("Connecting to PostgreSQL at %s", settings.target.removeprefix(f"{settings.username}@"))
            return settings

        _pool.make(load)
        logger.info("Created connection pool with %s-%s connections", min_connections, max_connections)
        logger.info("Initialized database connection pool (%s-%s connections)", min_connections, max_connections)

    @staticmethod
    def get_connection() -> psycopg2.extensions.connection:
        """A connection, to be given back with ``return_connection``; waits for one while all are out.

        Raises:
            NotInitializedError: there is no pool.
            NoConnectionError: none came back in time (``DB_TIMEOUT``, 30 seconds); the message names the holders.
            psycopg2.OperationalError: it could not be opened.
        """
        return _pool.borrow()

    @staticmethod
    def return_connection(conn: psycopg2.extensions.connection) -> None:
        """Give a connection back, also one of a pool that was closed meanwhile. Uncommitted changes are rolled back.

        Raises:
            NotLentError: it is not from here, or it was given back before.
        """
        _pool.give_back(conn)

    @staticmethod
    def is_initialized() -> bool:
        """Whether there is a pool."""
        return _pool.is_open()

    @staticmethod
    def close() -> None:
        """Close the pool, if there is one, at once: connections that are out are closed when they come back."""
        if _pool.close():
            logger.info("Closed database connection pool")
            logger.info("Database connection pool closed")
