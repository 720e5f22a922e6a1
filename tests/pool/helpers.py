"""What the tests of the pool share: waiting for conditions, engines, borrowers, and doubles for connects.

All of it works on each runtime (see ``runtimes.py``). Programs that tests start use it, too: what only a loop needs is
loaded there.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg2
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.pool import Pool
from sqlalchemy.util.concurrency import in_greenlet

from .runtimes import PATIENCE, Flag, Task, driver_here, pool_class, sleep

QUIET = {"min_size": 0, "max_idle": None, "max_lifetime": None, "keepalive": None}
"""Pool numbers with which nothing happens that the test did not ask for."""

POOL_EVENTS = (
    "connect",
    "first_connect",
    "checkout",
    "checkin",
    "reset",
    "invalidate",
    "soft_invalidate",
    "close",
    "detach",
    "close_detached",
)

_numbers = itertools.count(1)


def eventually(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Poll until the condition is true and return what it returned; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: the condition in {condition!r}"
        sleep(0.002)
    return found


def unique(word: str) -> str:
    """Return a name nobody else on the server uses in this run of the worker."""
    return f"{word}_{next(_numbers)}"


def sqlalchemy_url(url: str) -> Any:
    """Return the URL for psycopg2 on every line of SQLAlchemy."""
    return make_url(url).set(drivername="postgresql+psycopg2")


def name_argument(driver: str, name: str) -> dict[str, Any]:
    """How a driver is told the ``application_name``."""
    return {"server_settings": {"application_name": name}} if driver == "asyncpg" else {"application_name": name}


@contextmanager
def engine_on(url: str, *, name: str = "dbkit-test", **arguments: Any) -> Iterator[Engine]:
    """An engine on the runtime's pool (or another ``poolclass``), disposed at the end. On a loop: an engine's sync one.

    Args:
        url: the database's.
        name: its ``application_name``.
        **arguments: ``create_engine``'s, the pool's among them.
    """
    arguments.setdefault("poolclass", pool_class())
    driver = driver_here()
    if "creator" not in arguments:
        arguments.setdefault("connect_args", name_argument(driver, name))
    made = make_url(url).set(drivername=f"postgresql+{driver}")
    engine = loops_engine(made, **arguments) if in_greenlet() else create_engine(made, **arguments)
    try:
        yield engine
    finally:
        engine.dispose()


def loops_engine(url: Any, **arguments: Any) -> Engine:
    """The synchronous side of an engine for a loop."""
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(url, **arguments).sync_engine


class Connects:
    """A creator around the driver's connect that counts, can be held up at a gate, and can be made to fail.

    Attributes:
        gate: while cleared, connects wait there.
        error: makes the exception that connects raise; None lets them through.
        begun: connects begun so far.
        under_way: connects under way.
        most: the most that ever were under way at once.
    """

    def __init__(self, url: str, name: str = "dbkit-test") -> None:
        self.name = name
        self.dialect = None
        self._connect: Callable[[], Any] = partial(psycopg2.connect, url, application_name=name)
        if in_greenlet():
            made = make_url(url).set(drivername=f"postgresql+{driver_here()}")
            self.dialect = loops_engine(made).dialect
            given, named = self.dialect.create_connect_args(made)
            named |= name_argument(driver_here(), name)
            self._connect = partial(self.dialect.connect, *given, **named)
        self.gate = Flag()
        self.gate.set()
        self.error: Callable[[], BaseException] | None = None
        self.begun = self.under_way = self.most = 0
        self._lock = threading.Lock()

    def __call__(self) -> Any:
        with self._lock:
            self.begun += 1
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            assert self.gate.wait(60), "nobody opened the gate"
            if self.error is not None:
                raise self.error()
            return self._connect()
        finally:
            with self._lock:
                self.under_way -= 1


def pool_on(creator: Callable[..., Any], **numbers: Any) -> Any:
    """The runtime's pool without an engine, as far as there is such a thing: a loop's drivers need their dialect."""
    return pool_class()(creator, dialect=getattr(creator, "dialect", None), **numbers)


def operational_error() -> type[Exception]:
    """The class of the errors by which the driver of this runtime tells that it cannot connect."""
    if driver_here() != "psycopg":
        return psycopg2.OperationalError
    import psycopg

    return psycopg.OperationalError


def refused() -> Exception:
    """What libpq's drivers raise when nobody listens: may pass."""
    return operational_error()(
        'connection to server at "127.0.0.1", port 1 failed: Connection refused\n'
        "\tIs the server running on that host and accepting TCP/IP connections?\n"
    )


def wrong_password() -> Exception:
    """What libpq's drivers raise when the server says no: will not pass."""
    return operational_error()(
        'connection to server at "127.0.0.1", port 1 failed: FATAL:  password authentication failed for user "x"\n'
    )


class Borrower:
    """A thread or a task that borrows one connection and keeps it until told to give it back."""

    def __init__(self, pool: Pool, name: str | None = None) -> None:
        self.has_it = Flag()
        self._release = Flag()
        self.pid = 0
        self._pool = pool
        self.task = Task(self._work, name=name)

    def _work(self) -> int:
        connection = self._pool.connect()
        self.pid = pid_of(connection)
        self.has_it.set()
        assert self._release.wait(60)
        connection.close()
        return self.pid

    def give_back(self) -> int:
        """Have it given back; return the backend's pid."""
        self._release.set()
        pid: int = self.task.outcome()
        return pid


def in_line(pool: Any, count: int) -> None:
    """Wait until so many borrowers stand in line."""
    eventually(lambda: pool.stats().waiting == count)


def at_rest(pool: Any, **expected: int) -> None:
    """Wait until the pool's numbers are these."""
    try:
        eventually(lambda: all(getattr(pool.stats(), name) == number for name, number in expected.items()))
    except AssertionError as error:
        raise AssertionError(f"{pool!r} is not at rest: {expected}; {pool.holders()}") from error


class Recorder:
    """Writes down the names of the pool events, in order."""

    def __init__(self, pool: Pool) -> None:
        self.names: list[str] = []
        for name in POOL_EVENTS:
            event.listen(pool, name, self._noting(name))

    def _noting(self, name: str) -> Callable[..., None]:
        def note(*_: Any) -> None:
            self.names.append(name)

        return note

    def taken(self) -> list[str]:
        """Return what was recorded since last asked."""
        names, self.names[:] = self.names.copy(), []
        return names


class Admin:
    """A connection of the tests' own, to see and to kill what the pools have on the server."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg2.connect(url, application_name="admin")
        self._connection.autocommit = True
        self._lock = threading.Lock()

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement; return its rows."""
        with self._lock, self._connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def pids(self, name: str) -> set[int]:
        """Return the backends whose application has this name."""
        found = self.rows("SELECT pid FROM pg_stat_activity WHERE application_name = %s", name)
        return {pid for (pid,) in found}

    def kill(self, *pids: int) -> None:
        """End these backends and wait until they are gone."""
        for pid in pids:
            self.rows("SELECT pg_terminate_backend(%s, 5000)", pid)

    def close(self) -> None:
        self._connection.close()


def pid_of(connection: Any) -> int:
    """Return the backend's pid of a SQLAlchemy or pool connection, without asking the server."""
    fairy = connection.connection if isinstance(connection, Connection) else connection
    return backend_pid(fairy.driver_connection)


def backend_pid(connection: Any) -> int:
    """The same, of a driver's own connection."""
    asked = getattr(connection, "get_server_pid", None)  # asyncpg's
    return int(asked() if asked else connection.info.backend_pid)


def slot_of(connection: Any) -> Any:
    """Return the pool's slot of a connection that is out; SQLAlchemy has no public name for it."""
    return connection._connection_record


@contextmanager
def locked(pool: Any) -> Iterator[Any]:
    """The pool's ledger, under its lock, held by this thread: a step. What follows from it is done after it.

    No public name leads there, and must not; this is the tests' one way in.
    """
    with pool._lock:
        yield pool._ledger
    pool._settle_up()


def count_pings(engine: Engine) -> list[Any]:
    """Return the list that every ping from now on is noted in."""
    pinged: list[Any] = []
    original = engine.dialect._do_ping_w_event

    def note(connection: Any) -> bool:
        pinged.append(connection)
        return original(connection)

    engine.dialect._do_ping_w_event = note  # type: ignore[method-assign]
    return pinged


def stale(pool: Any) -> None:
    """Make what is idle old enough that it is looked at before it is borrowed."""
    with locked(pool) as ledger:
        for idle in ledger.idle:
            idle.idle_since -= 1
            idle.checked_at -= 1
