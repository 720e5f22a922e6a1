"""A quiet connection costs no round trip, no borrower pays for a ping, and a ping does not last for ever."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Engine, exc, text

from dbkit.drivers import for_connection
from dbkit.pool import slot
from dbkit.pool.errors import PoolTimeoutError
from dbkit.pool.liveness import make_peek
from dbkit.runtime.waits import BoundedWait

from .helpers import (
    QUIET,
    Admin,
    at_rest,
    count_pings,
    engine_on,
    eventually,
    locked,
    pid_of,
    pool_on,
    slot_of,
    stale,
    unique,
)
from .runtimes import on_both, on_each_runtime


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Stop these server processes, and let them go on at the end whatever happens."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_notify_does_not_cost_the_connection(shared_database: str, admin: Admin):
    channel = unique("channel")
    with engine_on(shared_database, isolation_level="AUTOCOMMIT", **QUIET) as engine:
        with engine.connect() as connection:
            connection.execute(text(f"LISTEN {channel}"))
            pid = pid_of(connection)
            driver_connection = connection.connection.driver_connection
        pinged = count_pings(engine)
        stale(engine.pool)
        admin.rows(f"NOTIFY {channel}, 'hello'")
        peek = make_peek(for_connection(driver_connection), driver_connection)
        assert peek is not None
        eventually(lambda: peek(0))
        with engine.connect() as connection:
            assert pid_of(connection) == pid
        assert len(pinged) == 1
        assert [notify.payload for notify in driver_connection.notifies] == ["hello"]
        assert engine.pool.stats().opens == 1


@on_each_runtime
def test_a_quiet_connection_costs_no_round_trip(shared_database: str, admin: Admin):
    with engine_on(shared_database, isolation_level="AUTOCOMMIT", **QUIET) as engine:
        with engine.connect() as connection:
            connection.execute(text("SELECT 'the last statement'"))
            pid = pid_of(connection)
        pinged = count_pings(engine)

        def last_statement() -> tuple[Any, ...]:
            return admin.rows("SELECT query, query_start, state_change FROM pg_stat_activity WHERE pid = %s", pid)[0]

        before = last_statement()
        assert "the last statement" in before[0]
        for _ in range(20):
            stale(engine.pool)
            with engine.connect():
                pass
        assert last_statement() == before
        assert pinged == []


@on_each_runtime
def test_one_idle_for_longer_than_upkeep_would_allow_is_asked(shared_database: str):
    """As after the machine slept: nobody pinged it in time, so it is not trusted unasked."""
    with engine_on(shared_database, **QUIET | {"keepalive": 1000}) as engine:
        with engine.connect():
            pass
        pinged = count_pings(engine)
        with locked(engine.pool) as ledger:
            ledger.idle[0].idle_since -= 3000
            ledger.idle[0].checked_at -= 3000
        with engine.connect():
            pass
        assert len(pinged) == 1
        assert engine.pool.stats().opens == 1


class Cursor:
    """A cursor that writes down what it was asked."""

    def __init__(self, asked: list[str]) -> None:
        self._asked = asked

    def execute(self, sql: str) -> None:
        self._asked.append(sql)

    def close(self) -> None: ...


class Double:
    """A connection with nothing but what DB-API demands."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.was_closed = False

    def rollback(self) -> None: ...

    def commit(self) -> None: ...

    def cursor(self) -> Any:
        return Cursor(self.asked)

    def close(self) -> None:
        self.was_closed = True


class DoubleWithoutASocket(Double):
    """One that has the method but nothing behind it."""

    closed = 0

    def fileno(self) -> int:
        raise OSError("no socket here")

    def get_transaction_status(self) -> int:
        return 0


class DoubleWithAMock(Double):
    """One whose every attribute is something, as mocks have it."""

    closed = 0

    def fileno(self) -> object:
        return object()


@on_both
@pytest.mark.parametrize("kind", [Double, DoubleWithoutASocket, DoubleWithAMock])
def test_a_double_without_a_real_socket_is_pinged_unless_fresh(kind: type[Double]):
    pool = pool_on(kind, **QUIET)
    connection = pool.connect()
    double: Double = connection.dbapi_connection  # type: ignore[assignment]
    connection.close()
    assert double.asked == []
    stale(pool)
    again = pool.connect()
    assert again.dbapi_connection is double
    assert double.asked == ["SELECT 1"]
    again.close()
    pool.dispose()
    assert double.was_closed


def test_a_transaction_begun_behind_sqlalchemys_back_goes_to_nobody(shared_database: str):
    with engine_on(shared_database, isolation_level="AUTOCOMMIT", **QUIET | {"max_size": 1}) as engine:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            pid = pid_of(connection)
        with engine.connect() as connection:
            status = connection.connection.driver_connection.get_transaction_status()
            assert status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
            # In autocommit mode psycopg2's rollback() sends none, so only another connection is clean.
            assert pid_of(connection) != pid
        assert engine.pool.stats().closes == {"unfit": 1}


def test_one_that_asks_for_no_reset_gets_its_transaction_back(shared_database: str):
    with engine_on(shared_database, pool_reset_on_return=None, **QUIET) as engine:
        connection = engine.raw_connection()
        connection.cursor().execute("SELECT 1")
        driver_connection = connection.driver_connection
        connection.close()
        assert driver_connection.get_transaction_status() == psycopg2.extensions.TRANSACTION_STATUS_INTRANS
        again = engine.raw_connection()
        assert again.driver_connection is driver_connection
        again.rollback()
        again.close()


@on_each_runtime
def test_without_a_reset_a_closed_connection_is_still_noticed(shared_database: str):
    with engine_on(shared_database, pool_reset_on_return=None, **QUIET | {"max_size": 1}) as engine:
        connection = engine.raw_connection()
        connection.dbapi_connection.close()
        connection.close()
        with engine.connect() as another:
            assert another.scalar(text("SELECT 1")) == 1


@on_each_runtime
def test_a_frozen_server_does_not_block_a_borrower_beyond_its_timeout(
    shared_database: str, admin: Admin, monkeypatch: pytest.MonkeyPatch
):
    assert slot.PING_TIMEOUT <= 5
    monkeypatch.setattr(slot, "PING_TIMEOUT", 1.0)
    with engine_on(shared_database, **QUIET | {"max_size": 1, "pool_timeout": 0.2, "keepalive": 1000}) as engine:
        with borrowed_soon(engine) as connection:
            pid = pid_of(connection)
        with locked(engine.pool) as ledger:
            ledger.idle[0].idle_since -= 3000
            ledger.idle[0].checked_at -= 3000
        with frozen(pid):
            began = time.monotonic()
            with pytest.raises(PoolTimeoutError, match="1 opening"):
                engine.connect()
            assert time.monotonic() - began < 5
            # The ping is given up after a while, and its slot is there for the next.
            at_rest(engine.pool, size=0, opening=0)
            assert engine.pool.stats().closes == {"dead": 1}
        at_rest(engine.pool, waiting=0)
        with borrowed_soon(engine) as connection:
            assert pid_of(connection) != pid


@contextmanager
def borrowed_soon(engine: Engine) -> Iterator[Any]:
    """Borrow although ``timeout`` is shorter than a connect may take."""
    found: list[Any] = []

    def attempt() -> bool:
        try:
            found.append(engine.connect())
        except PoolTimeoutError:
            return False
        return True

    eventually(attempt)
    with found[0]:
        yield found[0]


@on_each_runtime
def test_a_borrower_with_time_to_spare_gets_another_after_a_ping_that_hangs(
    shared_database: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slot, "PING_TIMEOUT", 0.2)
    with engine_on(shared_database, **QUIET | {"max_size": 1, "pool_timeout": 30, "keepalive": 1000}) as engine:
        with engine.connect() as connection:
            pid = pid_of(connection)
        with locked(engine.pool) as ledger:
            ledger.idle[0].idle_since -= 3000
            ledger.idle[0].checked_at -= 3000
        with frozen(pid), engine.connect() as connection:
            assert pid_of(connection) != pid
            assert connection.scalar(text("SELECT 1")) == 1


def test_a_ping_that_is_answered_is_left_alone_by_its_watch(shared_database: str, monkeypatch: pytest.MonkeyPatch):
    made: list[BoundedWait] = []

    class Noted(BoundedWait):
        def __init__(self, at: float, give_up: Any) -> None:
            super().__init__(at, give_up)
            made.append(self)

    monkeypatch.setattr(slot, "BoundedWait", Noted)
    with engine_on(shared_database, **QUIET | {"keepalive": 1000}) as engine:
        held = engine.raw_connection()
        assert slot_of(held).answers(engine.pool)
        made[0].come_due()  # too late
        assert not made[0].given_up
        held.cursor().execute("SELECT 1")
        held.close()


@on_each_runtime
def test_an_error_that_means_the_server_went_away_condemns_the_others(shared_database: str, admin: Admin):
    with engine_on(shared_database, **QUIET) as engine:
        held = engine.connect()
        with engine.connect():
            pass
        at_rest(engine.pool, idle=1, in_use=1)
        admin.kill(pid_of(held))
        with pytest.raises(exc.DBAPIError):
            held.execute(text("SELECT 1"))
        held.close()
        at_rest(engine.pool, size=0)
        assert engine.pool.stats().closes == {"invalidated": 2}
