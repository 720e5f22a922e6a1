"""The older hand-written pool classes over dbkit's one pool: an import line changes, the code stays.

===============================  ====================================================================================
``DatabaseConnectionPool``       one pool for the process, from ``DB_*`` and ``.env``: ``initialize_pool(1, 10)``
``ConnectionPool``               pools the connections of ``database.create_connection()``: ``with pool.connection()``
``PostgresqlConnection``         one object for the process, a transaction per block: ``with db as conn``
``DatabasePool``                 one pool for the process, from arguments: ``DatabasePool.initialize(host=...)``
``DatabaseConnectionManager``    dbkit's own front: sessions, queries, migrations
===============================  ====================================================================================

All of them wait where a full pool used to raise, are thread-safe, and refuse a connection that is not theirs or comes
back twice. ``docs/migrating.md`` shows the change for each, and the step from there to the manager.
"""

from dbkit.dropin.connection_pool import ConnectionPool
from dbkit.dropin.database_connection_pool import DatabaseConnectionPool
from dbkit.dropin.database_pool import DatabasePool
from dbkit.dropin.errors import (
    AlreadyInitializedError,
    ClosedError,
    DropinError,
    NoConnectionError,
    NotInitializedError,
    NotLentError,
)
from dbkit.dropin.postgresql_connection import PostgresqlConnection
from dbkit.manager import DatabaseConnectionManager

__all__ = [
    "AlreadyInitializedError",
    "ClosedError",
    "ConnectionPool",
    "DatabaseConnectionManager",
    "DatabaseConnectionPool",
    "DatabasePool",
    "DropinError",
    "NoConnectionError",
    "NotInitializedError",
    "NotLentError",
    "PostgresqlConnection",
]
