"""How a migrating session behaves towards others, and what stands between it and the server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event, exc, text

if TYPE_CHECKING:
    from sqlalchemy import Connection

logger = logging.getLogger("dbkit.migrate")

CHECK_INTERVAL: Final = "1s"
"""How often the server looks, in the middle of a statement, whether the migrating process is still there. Else the
session of a process that was killed keeps its locks until the statement ends."""

_CHECK: Final = "client_connection_check_interval"
_SINCE: Final = (14,)


def behind_pooler(connection: Connection) -> bool:
    """Whether something that shares server sessions among clients, such as PgBouncer, stands between.

    Costs one round trip, and is certain: a server tells each client the process that serves it when the session
    begins. A pooler, whose clients have no process of their own, has to make one up. In which mode it works cannot be
    seen from outside. Connections of drivers that do not tell the process count as direct.
    """
    info: Any = getattr(connection.connection.driver_connection, "info", None)
    told: int | None = getattr(info, "backend_pid", None)
    return told is not None and connection.scalar(text("SELECT pg_backend_pid()")) != told


@contextmanager
def in_each_transaction(
    connection: Connection, *, lock_timeout: float | None, check_client: bool, on_commit: Callable[[Connection], None]
) -> Iterator[None]:
    """Set what holds for a migration at the beginning of each of its transactions, as ``SET LOCAL`` does.

    Nothing stays behind in the session, which matters where a pooler lends it to others. Statements outside of a
    transaction (``CREATE INDEX CONCURRENTLY`` in an ``autocommit_block``) go by the session's own ``lock_timeout``:
    they hold up nobody while they wait, and giving up would leave half an index.

    Args:
        connection: the one that migrates.
        lock_timeout: seconds a statement may wait for a table that others use; 0 for no limit, None for the session's.
        check_client: set ``client_connection_check_interval`` too.
        on_commit: called before each commit.
    """
    settings = {} if lock_timeout is None else {"lock_timeout": f"{round(lock_timeout * 1000)}ms"}
    if check_client:
        settings[_CHECK] = CHECK_INTERVAL
    command = "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())

    def begin(begun: Connection) -> None:
        if settings and begun.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            with closing(begun.connection.cursor()) as cursor:
                cursor.execute(command)

    event.listen(connection, "begin", begin)
    event.listen(connection, "commit", on_commit)
    try:
        yield
    finally:
        event.remove(connection, "begin", begin)
        event.remove(connection, "commit", on_commit)


def can_check_client(connection: Connection) -> bool:
    """Whether the server can look after its client in the middle of a statement. Ends the transaction.

    PostgreSQL can since version 14, on Linux and a few other systems.
    """
    version = connection.dialect.server_version_info
    if version is None or version < _SINCE:
        return False
    try:
        connection.execute(text(f"SELECT set_config('{_CHECK}', :value, true)"), {"value": CHECK_INTERVAL})
    except exc.DBAPIError:
        logger.debug("The server cannot set %s.", _CHECK, exc_info=True)
        return False
    finally:
        connection.rollback()
    return True


def check_client(connection: Connection) -> str:
    """Make the server look after its client for the rest of the session; return the setting's former value."""
    before: str = connection.scalar(text(f"SELECT current_setting('{_CHECK}')"))
    put_back(connection, CHECK_INTERVAL)
    return before


def put_back(connection: Connection, value: str) -> None:
    """Set ``client_connection_check_interval`` for the session, and commit."""
    connection.execute(text(f"SELECT set_config('{_CHECK}', :value, false)"), {"value": value})
    connection.commit()
