"""One process at a time migrates a database; the others wait for its lock, up to a deadline.

The lock is a session-level advisory lock on the connection that migrates. Advisory locks belong to a database, so the
key is made of the version table's name alone. See ``docs/decisions/migration-lock.md``.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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
def migration_lock(connection: Connection, version_table: str, *, timeout: float) -> Iterator[None]:
    """Hold the lock for the length of the block, on the connection that does the work.

    A connection outside of a transaction is outside of one again afterwards, with its session as it was. Inside a
    transaction, which its owner commits or rolls back, the lock is the transaction's and ends with it.

    Args:
        connection: the connection that will migrate.
        version_table: the name of Alembic's version table, with its schema if it has one.
        timeout: seconds to wait for another process's migration; 0 does not wait.

    Raises:
        MigrationError: another process still has the lock; the message names it.
    """
    key = lock_key(version_table)
    if connection.in_transaction():
        _acquire(connection, "pg_try_advisory_xact_lock", key, timeout, ends=False)
        yield
        return
    try:
        _acquire(connection, "pg_try_advisory_lock", key, timeout, ends=True)
        connection.commit()
        yield
    finally:
        _release(connection, key)


@contextmanager
def locked_transaction(
    begin: Callable[[], AbstractContextManager[object]], connection: Connection, version_table: str, *, timeout: float
) -> Iterator[None]:
    """A transaction that holds the lock until its end: for a session that others get between two transactions.

    Args:
        begin: begins the transaction; called again for each try, so that none is held while waiting.
        connection: the connection that will migrate.
        version_table: the name of Alembic's version table, with its schema if it has one.
        timeout: seconds to wait for another process's migration; 0 does not wait.

    Raises:
        MigrationError: another process still has the lock; the message names it.
    """
    key, polls = lock_key(version_table), Polls(timeout)
    while True:
        with begin():
            if connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key}):
                yield
                return
            holder = _describe_holder(connection, key)
        polls.wait(holder)


class Polls:
    """The waiting between tries for the lock.

    Args:
        timeout: seconds to wait in all.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._began = time.monotonic()
        self._pause = FIRST_POLL
        self._told = -_REMIND

    def wait(self, holder: str) -> None:
        """Wait a little, and tell the log from time to time who has the lock.

        Raises:
            MigrationError: the time is over.
        """
        waited = time.monotonic() - self._began
        left = self._timeout - waited
        if left <= 0:
            raise MigrationError(
                f"Another process is migrating this database: {holder} still has the lock after {waited:.1f} s. "
                "Wait for it and try again, give a longer timeout, or, if it hangs, end it with pg_terminate_backend()."
            )
        if waited - self._told >= _REMIND:
            logger.info("waiting for another migration (%s), for up to %.0f s more", holder, left)
            self._told = waited
        time.sleep(min(self._pause, left))
        self._pause = min(self._pause * 1.5, LAST_POLL)


def _acquire(connection: Connection, function: str, key: int, timeout: float, *, ends: bool) -> None:
    attempt = text(f"SELECT {function}(:key)")  # one of our two function names
    polls = Polls(timeout)
    while not connection.scalar(attempt, {"key": key}):
        holder = _describe_holder(connection, key)
        if ends:
            connection.rollback()  # hold no snapshot while waiting
        polls.wait(holder)


def _describe_holder(connection: Connection, key: int) -> str:
    row = connection.execute(_HOLDER, _halves(key)).first()
    if row is None:
        return "a process that is ending"
    application = f" {row.application_name!r}" if row.application_name else ""
    return f"pid {row.pid}{application}" + (f" of user {row.usename}" if row.usename else "")


def _release(connection: Connection, key: int) -> None:
    """Release the lock, or end the session if that fails, which releases it too."""
    if connection.closed or connection.invalidated:
        return
    try:
        connection.rollback()
        connection.execute(_UNLOCK_IF_HELD, {"key": key, **_halves(key)})
        connection.commit()
    except exc.SQLAlchemyError:
        connection.invalidate()


def _halves(key: int) -> dict[str, int]:
    """Return the key's two halves, as ``pg_locks`` shows them."""
    return {"high": key >> 32 & 0xFFFFFFFF, "low": key & 0xFFFFFFFF}
