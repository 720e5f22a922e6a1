"""``ConnectionPool``: pools the connections that a ``database`` object makes.

The connections may be any program's own, of which the pool below knows nothing. So it is shown a ``_Pooled`` in the
place of each: a DB-API connection as far as the pool asks for one, and closed as soon as it must not be used any more.

Invariants:

1. ``is_healthy()`` is asked only by code that has the connection to itself: its borrower, or the pool's check of one
   that it set aside. It may well be a query.
2. A connection once found unfit stays unfit: it is discarded, even if it says otherwise later.
3. A connection opened since ``acquire()`` began needs no check. All others that it may find were there before, so it
   finds a good one or opens one, however often ``is_healthy()`` says no.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any, Protocol

from sqlalchemy.engine.default import DefaultDialect

from dbkit.core.policy import PoolPolicy, find_faults
from dbkit.drivers import for_connection
from dbkit.dropin.errors import DropinError, NoConnectionError
from dbkit.dropin.loans import Loans
from dbkit.dropin.unwrap import LEAK_AFTER
from dbkit.errors import SettingsError
from dbkit.pool.elastic import ElasticPool
from dbkit.session.connection_state import restore

logger = logging.getLogger("dbkit.dropin")


class Database(Protocol):
    """Makes connections."""

    def create_connection(self) -> Any:
        """A new connection: a DB-API one, or one with ``is_open``, which is opened by its ``connect()``."""


class ConnectionPool:
    """A pool of connections that ``database.create_connection()`` makes. Thread-safe.

    ::

        pool = ConnectionPool(database, min_size=2, max_size=5)
        with pool.connection() as conn:
            conn.execute("SELECT * FROM users")

    A connection has ``connect()``, ``close()``, ``is_open`` and ``is_healthy()``, or it is a DB-API one (psycopg2,
    sqlite3, ...). One that has a ``rollback()`` is rolled back when it comes back, so what is to last is committed
    before. Connections are opened and closed on threads of the pool's own (sqlite3 wants ``check_same_thread=False``).
    A forked child may go on using the pool; it starts empty there.

    Args:
        database: makes the connections.
        min_size: connections kept open; they are opened now, in parallel.
        max_size: connections there may be at most.
        max_idle_time: seconds after which a connection that nobody used is closed, and replaced where fewer than
            ``min_size`` would be left; None for no limit.
        timeout: seconds to wait for a connection.

    Raises:
        SettingsError: naming every number that makes no sense.
        NoConnectionError: ``min_size`` connections were not open within ``timeout`` (30 seconds if that is 0).
        any error of a connection attempt. Nothing stays open then.
    """

    def __init__(
        self,
        database: Database,
        min_size: int = 2,
        max_size: int = 10,
        max_idle_time: float | None = 300.0,
        timeout: float = 30.0,
    ) -> None:
        faults = find_faults(
            {"min_size": min_size, "max_size": max_size, "timeout": timeout, "max_idle": max_idle_time}
        )
        if faults:
            own_word = {"max_idle": "max_idle_time"}
            raise SettingsError(replace(fault, key=own_word.get(fault.key, fault.key)) for fault in faults)
        self.database = database
        self.min_size = min_size
        self.max_size = max_size
        self.max_idle_time = max_idle_time
        self.timeout = timeout
        self._closed = False
        self._pool = ElasticPool(
            _creator(database, math.inf if max_idle_time is None else max_idle_time),
            min_size=min_size,
            max_size=max_size,
            timeout=timeout,
            max_idle=max_idle_time,
            keepalive=max_idle_time,  # at which the ping finds it expired
            max_lifetime=None,
            leak_after=LEAK_AFTER,
            reset_on_return=None,  # take_back() does more
            dialect=_Dialect(),
        )
        self._loans = Loans(self._pool, "ConnectionPool", tidy=_Pooled.take_back)
        patience = timeout or PoolPolicy.timeout  # not to wait for others is not to open nothing
        try:
            self._loans.warm_up(patience)
        except BaseException as error:
            self._pool.close(timeout=0)
            if isinstance(error, NoConnectionError):
                raise _timed_out(patience, error) from error.__cause__
            raise
        logger.info("Initialized connection pool (min=%d, max=%d)", min_size, max_size)

    def acquire(self, timeout: float | None = None) -> Any:
        """A healthy connection, to be given back with ``release``; waits for one while all are out.

        Args:
            timeout: seconds to wait; the pool's own ``timeout`` if None.

        Raises:
            NoConnectionError: none could be had in time; the message names the holders.
            ClosedError: the pool was closed.
            any error of a connection attempt.
        """
        began = monotonic()
        seconds = self.timeout if timeout is None else timeout
        left = max(0.0, seconds)  # the time that a caller has left may be below zero
        while True:
            try:
                return self._loans.borrow(left, note=partial(_lend, now=began))
            except _UnfitError:
                left = max(0.0, began + seconds - monotonic())
            except NoConnectionError as error:
                raise _timed_out(seconds, error) from error.__cause__

    def release(self, conn: Any) -> None:
        """Give a connection back. One that is closed or not healthy is discarded, as are all once the pool is closed.

        Raises:
            NotLentError: it is not from here, or it was given back before; nothing happens to it.
        """
        self._loans.give_back(conn)

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[Any]:
        """A connection for the length of a block. Arguments and errors as for ``acquire``."""
        conn = self.acquire(timeout)
        try:
            yield conn
        finally:
            self.release(conn)

    def close(self) -> None:
        """Close the pool, without waiting: what is out is closed when it comes back. May be called again."""
        if self._closed:
            return
        self._closed = True
        self._pool.close(timeout=0)
        logger.info("Connection pool closed (%d connections still out)", self._pool.stats().in_use)

    def get_stats(self) -> dict[str, Any]:
        """The pool at this moment: ``total_connections``, which is the sum of ``available_connections`` and
        ``in_use_connections``; ``max_size``, ``min_size``, and whether it is ``closed``."""
        stats = self._pool.stats()
        return {
            "total_connections": stats.idle + stats.in_use,
            "available_connections": stats.idle,
            "in_use_connections": stats.in_use,
            "max_size": self.max_size,
            "min_size": self.min_size,
            "closed": self._closed,
        }


def _timed_out(seconds: float, error: NoConnectionError) -> NoConnectionError:
    return NoConnectionError(f"Timeout waiting for connection ({seconds}s): {error.__cause__}")


class _Pooled:
    """Stands in the pool in the place of a connection."""

    def __init__(self, connection: Any, max_idle: float) -> None:
        self.connection = connection
        self.opened_at = self.idle_since = monotonic()
        self._max_idle = max_idle
        self._unfit = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def __repr__(self) -> str:
        return repr(self.connection)

    @property
    def closed(self) -> bool:
        """Whether it must not be used any more. Asks nobody, so any thread may look."""
        return self._unfit or not _is_open(self.connection)

    def rollback(self) -> None:
        """Roll back, if it knows how to."""
        if hasattr(self.connection, "rollback"):
            self.connection.rollback()

    def close(self) -> None:
        """Close it, unless it is closed: some object to that."""
        if _is_open(self.connection):
            self.connection.close()

    def is_fit(self) -> bool:
        """Whether it may be lent: open, not idle for too long, and healthy, if it can tell."""
        if not self.closed:
            self._unfit = monotonic() - self.idle_since >= self._max_idle or not self._is_healthy()
        return not self.closed

    def _is_healthy(self) -> bool:
        try:
            return not hasattr(self.connection, "is_healthy") or bool(self.connection.is_healthy())
        except Exception:
            logger.warning("A connection could not tell whether it is healthy; it is discarded.", exc_info=True)
            return False

    def take_back(self, state: object) -> bool:
        """It comes back: bring it in order. Returns whether it is fit to be lent again."""
        self.idle_since = monotonic()
        if self.closed:
            return False
        if state is not None:
            return restore(for_connection(self.connection), self.connection, state) and self.is_fit()
        try:
            self.rollback()
        except Exception:
            logger.warning("A connection could not be rolled back; it is discarded.", exc_info=True)
            return False
        return self.is_fit()


class _UnfitError(Exception):
    """This connection is not to be lent."""


class _Dialect(DefaultDialect):
    """Answers for connections that are not an engine's."""

    driver = "of a Database"

    def get_driver_connection(self, connection: Any) -> Any:
        return connection.connection

    def do_ping(self, dbapi_connection: Any) -> bool:
        if not dbapi_connection.is_fit():
            return False
        if hasattr(dbapi_connection, "cursor"):
            super().do_ping(dbapi_connection)  # its transaction is ended by whoever pings
        return True


def _says_open(connection: Any) -> bool | None:
    """Its own word, by attribute or method; None where it has none."""
    for name, means_open in (("is_open", True), ("closed", False)):
        said = getattr(connection, name, None)
        if said is not None:
            return bool(said() if callable(said) else said) is means_open
    return None


def _is_open(connection: Any) -> bool:
    """A connection that exposes no state counts as open."""
    return _says_open(connection) is not False


def _creator(database: Database, max_idle: float) -> Callable[[], Any]:
    def create() -> _Pooled:
        connection = database.create_connection()
        if connection is None:
            raise DropinError(f"{type(database).__name__}.create_connection() gave None")
        pooled = _Pooled(connection, max_idle)
        said = _says_open(connection)
        if said:
            return pooled
        if hasattr(connection, "connect"):
            try:
                connection.connect()
            except BaseException:
                with suppress(Exception):
                    pooled.close()
                raise
            pooled.opened_at = pooled.idle_since = monotonic()
        elif said is False:
            raise DropinError(
                f"{type(database).__name__}.create_connection() gave a {type(connection).__name__} that is closed and "
                "has no connect()"
            )
        return pooled

    return create


def _lend(pooled: _Pooled, now: float) -> object:
    if pooled.opened_at < now and not pooled.is_fit():
        raise _UnfitError
    return for_connection(pooled.connection).state(pooled.connection)
