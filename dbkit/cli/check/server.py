"""Asks a session about its server: one query for the facts, one transaction for the pooler, many for the round trip."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from dbkit.cli.check.facts import Pooler, Server
from dbkit.migrate.manners import behind_pooler

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

ROUNDS: Final = 4
"""How often two clients ask who serves them."""

_SETTINGS: Final = (
    "max_connections", "superuser_reserved_connections", "reserved_connections", "idle_session_timeout",
    "idle_in_transaction_session_timeout", "statement_timeout", "transaction_timeout", "lock_timeout",
)  # fmt: skip

_QUERY: Final = """
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
    current_user AS role, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
    pg_is_in_recovery() AS in_recovery, current_setting('default_transaction_read_only') = 'on' AS read_only,
    (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl) AS encrypted,
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user) AS role_limit,
    (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database_limit,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())
        AS sessions,
    extract(epoch FROM clock_timestamp())::float8 AS clock
"""
_NAMED: Final = "SELECT name, setting::bigint FROM pg_settings WHERE name = ANY(:names)"


def ask(connection: Connection) -> Server:
    """What the session sees.

    Raises:
        sqlalchemy.exc.DBAPIError: the server refused to tell.
    """
    connection.execute(text("SELECT 1"))  # begins the transaction, so that the next one is a round trip alone
    before = time.time()
    row: Any = connection.execute(text(_QUERY)).one()
    after = time.time()
    named = connection.execute(text(_NAMED), {"names": list(_SETTINGS)})
    settings = {str(name): int(value) for name, value in named}
    connection.rollback()
    return Server(
        version=row.version.split()[0],
        version_number=row.number,
        role=row.role,
        superuser=bool(row.superuser),
        in_recovery=row.in_recovery,
        read_only=row.read_only,
        encrypted=row.encrypted,
        settings=settings,
        role_limit=_limit(row.role_limit),
        database_limit=_limit(row.database_limit),
        sessions=row.sessions,
        clock_ahead=row.clock - (before + after) / 2,
        clock_precision=(after - before) / 2,
    )


def _limit(number: int | None) -> int | None:
    return None if number is None or number < 0 else number


def ask_pooler(engine: Engine, connection: Connection) -> Pooler:
    """Whether a pooler stands between, and how it lends its sessions, as far as a client can see.

    Two clients that one server session serves while both are connected prove the mode ``transaction``; so does a client
    that two serve. That each client keeps a session of its own proves nothing: it speaks for ``session``. (In mode
    ``statement`` nobody gets this far: the login's own transaction is refused.)

    Args:
        engine: whose pool has room for two.
        connection: its first one; ends its transaction.
    """
    direct = not behind_pooler(connection)
    connection.rollback()
    if direct:
        return Pooler(present=False)
    with engine.connect() as other:
        pids = [(_process(connection), _process(other)) for _ in range(ROUNDS)]
    apart = len(set(pids)) == 1 and pids[0][0] != pids[0][1]
    return Pooler(present=True, mode="session" if apart else "transaction")


def _process(connection: Connection) -> int:
    pid: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    connection.rollback()
    return pid


def time_round_trips(connection: Connection, *, count: int, seconds: float) -> Sequence[float]:
    """How long a ``SELECT 1`` takes, again and again, each in one round trip.

    Args:
        connection: idle; its isolation level is set to ``AUTOCOMMIT``.
        count: how often, at most.
        seconds: for how long, at most.
    """
    connection.execution_options(isolation_level="AUTOCOMMIT")
    cursor: Any = connection.connection.cursor()
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    try:
        while len(times) < count and time.perf_counter() < deadline:
            began = time.perf_counter()
            cursor.execute("SELECT 1")
            cursor.fetchall()
            times.append(time.perf_counter() - began)
    finally:
        cursor.close()
    return tuple(times)
