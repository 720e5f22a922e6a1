"""``DatabaseConnectionPool``: one pool for the process, set up by ``DB_*`` variables and ``.env``."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING

from dbkit.dropin.errors import NotLentError
from dbkit.dropin.shared_pool import SharedPool
from dbkit.dropin.unwrap import LEAK_AFTER
from dbkit.settings import DatabaseSettings

if TYPE_CHECKING:
    import psycopg2.extensions

logger = logging.getLogger("dbkit.dropin")

_DEFAULTS = MappingProxyType(
    {
        "host": "localhost",
        "port": 5432,
        "database": "your_database",
        "user": "your_user",
        "password": "your_password",
        "leak_after": LEAK_AFTER,
    }
)

_pool = SharedPool(
    "DatabaseConnectionPool",
    absent="Database connection pool is not initialized",
    present="Connection pool is already initialized",
)


class DatabaseConnectionPool:
    """One pool of psycopg2 connections for the whole process. Thread-safe; a forked child may go on using it."""

    @staticmethod
    def initialize_pool(minconn: int, maxconn: int) -> None:
        """Make the pool and open ``minconn`` connections, to where ``DB_*`` variables or ``.env`` say.

        Args:
            minconn: connections kept open.
            maxconn: connections there may be at most.

        Raises:
            AlreadyInitializedError: there is a pool; close it before.
            SettingsError: naming everything that is wrong with the settings.
            psycopg2.OperationalError: the server could not be reached or refused. There is no pool then.
        """
        _pool.make(
            lambda: DatabaseSettings.load(url_variable=None, defaults=_DEFAULTS, min_conn=minconn, max_conn=maxconn)
        )
        logger.info("Connection pool created")

    @staticmethod
    def get_connection() -> psycopg2.extensions.connection:
        """A connection, to be given back with ``put_connection``; waits for one while all are out.

        Raises:
            NotInitializedError: there is no pool.
            NoConnectionError: none came back in time (``DB_TIMEOUT``, 30 seconds); the message names the holders.
            psycopg2.OperationalError: it could not be opened.
        """
        return _pool.borrow()

    @staticmethod
    def put_connection(conn: psycopg2.extensions.connection | None) -> None:
        """Give a connection back, also one of a pool that was closed meanwhile. Uncommitted changes are rolled back.

        Raises:
            NotLentError: there is no connection, it is not from here, or it was given back before.
        """
        if conn is None:
            raise NotLentError("No connection provided")
        _pool.give_back(conn)

    @staticmethod
    def close_all_connections() -> None:
        """Close the pool, if there is one, at once: connections that are out are closed when they come back."""
        if _pool.close():
            logger.info("Connection pool closed")
