"""Faults on a real server: connections killed, a server that hangs, a database that takes nobody in."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbkit.embedded import EmbeddedPostgres


class Faults:
    """Faults for one database of an embedded server. Others of the same server go on, but for ``freeze``.

    Args:
        server: the server.
        database: the name of the database.
    """

    def __init__(self, server: EmbeddedPostgres, database: str) -> None:
        self._server = server
        self._database = database

    def kill_idle(self) -> int:
        """End the sessions of the database that run nothing, as an administrator or a firewall would.

        Returns:
            How many there were.
        """
        return len(
            self._server.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = %s AND state = 'idle' AND pid <> pg_backend_pid()",
                (self._database,),
            )
        )

    @contextmanager
    def freeze(self) -> Iterator[None]:
        """For the length of the block the server answers nobody, and closes no connection: no new one, no statement."""
        rows = self._server.execute(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        postmaster = self._server.pid
        frozen = [*([] if postmaster is None else [postmaster]), *(pid for (pid,) in rows)]
        stopped = [pid for pid in frozen if _signal(pid, signal.SIGSTOP)]
        try:
            yield
        finally:
            for pid in stopped:
                _signal(pid, signal.SIGCONT)

    @contextmanager
    def refuse_connections(self) -> Iterator[None]:
        """For the length of the block the database takes no new connection; those that are there go on."""
        self._allow("false")
        try:
            yield
        finally:
            self._allow("true")

    def _allow(self, word: str) -> None:
        from psycopg2 import sql

        statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        self._server.execute(statement.format(sql.Identifier(self._database), sql.SQL(word)))


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
