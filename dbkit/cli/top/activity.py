"""Asks the server what its sessions do: one statement, one round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dbkit.cli.top.state import Activity, Session

if TYPE_CHECKING:
    from dbkit.manager import DatabaseConnectionManager

_QUERY: Final = """
SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS in_recovery,
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0) AS room,
    (SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database)::bigint AS transactions,
    extract(epoch FROM clock_timestamp())::float8 AS at,
    pid, pid = pg_backend_pid() AS own, coalesce(usename, '?') AS username,
    coalesce(application_name, '') AS application, coalesce(datname, '') AS database,
    coalesce(host(client_addr), 'local') AS client, state,
    extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction,
    extract(epoch FROM clock_timestamp() - state_change)::float8 AS state_for,
    CASE WHEN wait_event IS NOT NULL AND state = 'active' THEN wait_event_type || ': ' || wait_event ELSE '' END
        AS waits_for,
    coalesce(left(query, 300), '') AS query,
    CASE WHEN wait_event_type = 'Lock' THEN pg_blocking_pids(pid) ELSE '{}' END AS blocked_by
FROM pg_stat_activity WHERE backend_type = 'client backend'
"""


def look(db: DatabaseConnectionManager) -> Activity:
    """The server at this moment; the session that asks is left out.

    Raises:
        sqlalchemy.exc.DBAPIError, DbkitError: the server did not tell.
    """
    rows = db.execute_query(_QUERY).to_dicts()  # this session is always among them
    first = rows[0]
    return Activity(
        version=first["version"].split()[0],
        in_recovery=first["in_recovery"],
        room=first["room"],
        transactions=first["transactions"],
        at=first["at"],
        sessions=tuple(_session(row) for row in rows if not row["own"]),
    )


def _session(row: dict[str, Any]) -> Session:
    return Session(
        pid=row["pid"],
        user=row["username"],
        application=row["application"],
        database=row["database"],
        client=row["client"],
        state=row["state"] or "?",
        transaction=row["transaction"],
        state_for=row["state_for"],
        waits_for=row["waits_for"],
        query=row["query"],
        blocked_by=tuple(row["blocked_by"]),
    )
