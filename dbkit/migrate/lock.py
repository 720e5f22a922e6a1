"""One process at a time migrates a database; the others wait for its lock, up to a deadline.

The lock is a session-level advisory lock on the connection that migrates. Advisory locks belong to a database, so the
key is made of the version table's name alone. See ``docs/decisions/migration-lock.md``.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import exc, text

from dbkit.errors import MigrationError

if TYPE_CHECKING:
    from sqlalchemy import Connection

logger = logging.getLogger("dbkit.migrate")

FIRST_POLL = 0.05
"""Seconds until the first retry; each further one waits half as long again, up to ``LAST_POLL``."""
LAST_POLL = 2.0
_REMIND = 10.0
"""Seconds between log lines while waiting."""

_IS_THIS_LOCK = """
    l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.classid::bigint = :high AND l.objid::bigint = :low
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_HOLDER = text(
    "SELECT a.pid, a.application_name, a.usename FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) "
    "WHERE" + _IS_THIS_LOCK
)
_UNLOCK_IF_HELD = text(
    "SELECT pg_advisory_unlock(:key) FROM pg_locks AS l WHERE l.pid = pg_backend_pid() AND" + _IS_THIS_LOCK
)


def lock_key(version_table: str) -> int:
    """Return the advisory lock's key: the first 64 bits of a SHA-256, signed, as ``pg_advisory_lock`` takes them.

    Args:
        version_table: the name of Alembic's version table, with its schema if it has one (``alembic_version``).
    """
    digest = hashlib.sha256(f"dbkit migrations {version_table}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


@contextmanager
def migration_lock(
    connection: Connection, version_table: str, *, timeout: float, lock_timeout: float | None
) -> Iterator[None]:
    """Hold the lock for the length of the block, on the connection that does the work.

    A connection outside of a transaction is outside of one again afterwards, with its session as it was. Inside a
    transaction, which its owner commits or rolls back, the lock is the transaction's and ends with it.

    Args:
        connection: the connection that will migrate.
        version_table: the name of Alembic's version table, with its schema if it has one.
        timeout: seconds to wait for another process's migration; 0 does not wait.
        lock_timeout: seconds a statement of the migration may wait for a table that others use; 0 for no limit, None
            for the server's own setting.

    Raises:
        MigrationError: another process still has the lock; the message names it.
    """
    key = lock_key(version_table)
    if connection.in_transaction():
        _acquire(connection, "pg_try_advisory_xact_lock", key, timeout, ends=False)
        _set_lock_timeout(connection, lock_timeout, local=True)
        yield
        return
    before = None
    try:
        _acquire(connection, "pg_try_advisory_lock", key, timeout, ends=True)
        before = _set_lock_timeout(connection, lock_timeout, local=False)
        connection.commit()
        yield
    finally:
        _release(connection, key, before)


def _acquire(connection: Connection, function: str, key: int, timeout: float, *, ends: bool) -> None:
    attempt = text(f"SELECT {function}(:key)")  # one of our two function names
    began = time.monotonic()
    pause, told = FIRST_POLL, -_REMIND
    while not connection.scalar(attempt, {"key": key}):
        waited = time.monotonic() - began
        holder = _describe_holder(connection, key)
        if ends:
            connection.rollback()  # hold no snapshot while waiting
        if waited >= timeout:
            raise MigrationError(
                f"Another process is migrating this database: {holder} still has the lock after {waited:.1f} s. "
                "Wait for it and try again, give a longer timeout, or, if it hangs, end it with pg_terminate_backend()."
            )
        if waited - told >= _REMIND:
            logger.info("waiting for another migration (%s), for up to %.0f s more", holder, timeout - waited)
            told = waited
        time.sleep(min(pause, timeout - waited))
        pause = min(pause * 1.5, LAST_POLL)


def _describe_holder(connection: Connection, key: int) -> str:
    row = connection.execute(_HOLDER, _halves(key)).first()
    if row is None:
        return "a process that is ending"
    application = f" {row.application_name!r}" if row.application_name else ""
    return f"pid {row.pid}{application}" + (f" of user {row.usename}" if row.usename else "")


def _set_lock_timeout(connection: Connection, seconds: float | None, *, local: bool) -> str | None:
    """Set ``lock_timeout`` for the session or the transaction; return its former value, or None if it stays."""
    if seconds is None:
        return None
    before: str = connection.scalar(text("SELECT current_setting('lock_timeout')"))
    value = f"{round(seconds * 1000)}ms"
    connection.execute(text("SELECT set_config('lock_timeout', :value, :local)"), {"value": value, "local": local})
    return before


def _release(connection: Connection, key: int, lock_timeout: str | None) -> None:
    """Restore the session, or end it if that fails, which releases the lock too."""
    if connection.closed or connection.invalidated:
        return
    try:
        connection.rollback()
        connection.execute(_UNLOCK_IF_HELD, {"key": key, **_halves(key)})
        if lock_timeout is not None:
            connection.execute(text("SELECT set_config('lock_timeout', :value, false)"), {"value": lock_timeout})
        connection.commit()
    except exc.SQLAlchemyError:
        connection.invalidate()


def _halves(key: int) -> dict[str, int]:
    """Return the key's two halves, as ``pg_locks`` shows them."""
    return {"high": key >> 32 & 0xFFFFFFFF, "low": key & 0xFFFFFFFF}
