"""Doubles for ``ConnectionPool``: a database of an application's own, as its document mocks one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dbkit.dropin.connection_pool import ConnectionPool


class MockConnection:
    """A connection as the document's: does what the test says, and notes what is done to it."""

    def __init__(self, database: MockDatabase, number: int) -> None:
        self.database = database
        self.number = number
        self.is_open = False
        self.healthy: Any = True
        self.asked = 0
        self.closes = 0
        self.lent = False
        self._using = threading.Lock()

    def connect(self) -> None:
        assert not self.is_open
        self.database.connecting()
        self.is_open = True

    def close(self) -> None:
        self.closes += 1
        assert self.is_open, "closed twice"
        self.is_open = False
        self.database.closing()

    def is_healthy(self) -> bool:
        with self.alone():
            assert not self.lent, "somebody else is at work on it"
            self.asked += 1
            if isinstance(self.healthy, BaseException):
                raise self.healthy
            return self.healthy() if callable(self.healthy) else self.healthy

    def execute(self, query: str) -> str:
        with self.alone():
            assert self.is_open
            return f"{self.number}: {query}"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this goes on nobody else may be at work on it."""
        assert self._using.acquire(blocking=False), "two are at work on it"
        try:
            yield
        finally:
            self._using.release()


class MockDatabase:
    """A ``database`` of such connections, numbered from 1.

    Attributes:
        made: all it made, in the order of their numbers.
        connecting: called when one is about to open; may wait or raise.
        closing: called when one has closed; may raise.
        healthy: what its connections say of themselves: an answer, what gives one, or an exception to raise.
    """

    def __init__(self) -> None:
        self.made: list[MockConnection] = []
        self.connecting: Callable[[], Any] = lambda: None
        self.closing: Callable[[], Any] = lambda: None
        self.healthy: Any = True
        self._lock = threading.Lock()  # connections are made in parallel

    def create_connection(self) -> MockConnection:
        with self._lock:
            conn = MockConnection(self, len(self.made) + 1)
            conn.healthy = self.healthy
            self.made.append(conn)
        return conn

    def open(self) -> list[int]:
        """Return the numbers of those that are open."""
        return [conn.number for conn in self.made if conn.is_open]


def numbers_of(pool: ConnectionPool) -> tuple[int, int, int]:
    """Return how many connections there are, how many are available, and how many are in use."""
    stats = pool.get_stats()
    return stats["total_connections"], stats["available_connections"], stats["in_use_connections"]


def next_of(pool: ConnectionPool) -> int:
    """Return the number of the connection that the pool lends next."""
    with pool.connection() as conn:
        number: int = conn.number
    return number
