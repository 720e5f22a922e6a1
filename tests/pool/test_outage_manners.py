"""An outage of a real server: fail at once if it never worked, ride it out if it did."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import exc, text

from dbkit.core import borrowing, reconnecting
from dbkit.embedded import EmbeddedPostgres
from dbkit.pool.errors import PoolTimeoutError

from .helpers import (
    QUIET,
    Connects,
    at_rest,
    engine_on,
    eventually,
    in_line,
    locked,
    operational_error,
    refused,
    wrong_password,
)
from .runtimes import Flag, Task, done, on_both


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedPostgres]:
    """Return a server that these tests may stop and start."""
    with EmbeddedPostgres.start() as running:
        yield running


@pytest.fixture
def up(own: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """Return that server, running before and after the test."""
    if not own.running:
        own.start_again()
    yield own
    if not own.running:
        own.start_again()


@on_both
def test_a_pool_that_never_connected_fails_at_once(up: EmbeddedPostgres):
    up.stop()
    with engine_on(up.url(), **QUIET | {"pool_timeout": 60}) as engine:
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(exc.OperationalError) as caught:
                engine.connect()
            assert time.monotonic() - began < 5
            assert isinstance(caught.value.orig, operational_error())
            assert not isinstance(caught.value, PoolTimeoutError)
        up.start_again()
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1


def test_a_borrower_of_an_invalidated_connection_does_not_connect_itself(shared_database: str):
    connects = Connects(shared_database)
    with engine_on(shared_database, creator=connects, **QUIET | {"max_size": 1, "pool_timeout": 60}) as engine:
        engine.raw_connection().close()
        connecting: list[int] = []

        def note() -> BaseException:
            connecting.append(threading.get_ident())
            connects.error = None
            return refused()

        connects.error = note
        with locked(engine.pool) as ledger:  # another thread is in the middle of invalidating the pool
            ledger.generation += 1
            ledger.oldest = ledger.generation
        with engine.connect():
            pass
        assert connecting != [threading.get_ident()]


@on_both
def test_a_pool_that_has_worked_rides_out_a_restart(up: EmbeddedPostgres):
    with engine_on(up.url(), **QUIET | {"min_size": 4, "max_size": 4, "pool_timeout": 60}) as engine:
        done(engine.pool.warm_up())
        enough = Flag()
        borrowed_after = [0] * 16
        back_at = [float("inf")]

        def work(me: int) -> None:
            while not enough.is_set():
                connection = engine.connect()  # only what happens here counts: no error may come out of it
                began = time.monotonic()
                try:
                    with connection:
                        connection.execute(text("SELECT 1"))
                    if began > back_at[0]:
                        borrowed_after[me] += 1
                except exc.DBAPIError:
                    pass  # the server went away under it

        tasks = [Task(work, me) for me in range(16)]
        eventually(lambda: engine.pool.stats().borrows > 50)
        up.stop()
        eventually(lambda: engine.pool.stats().waiting == 16 or [task.outcome(0) for task in tasks if task.error])
        probing = engine.pool.stats  # once those that were opened side by side have failed, one at a time
        eventually(lambda: probing().open_failures >= 2 and probing().opening <= 1)
        up.start_again()
        back_at[0] = time.monotonic()
        eventually(lambda: min(borrowed_after) > 0)
        enough.set()
        for task in tasks:
            task.outcome()
        at_rest(engine.pool, in_use=0, waiting=0, idle=4)
        assert engine.pool.stats().timeouts == 0


@on_both
def test_without_patience_an_outage_fails_at_once(up: EmbeddedPostgres):
    with engine_on(up.url(), **QUIET | {"reconnect_timeout": 0, "pool_timeout": 60}) as engine:
        with engine.connect():
            pass
        engine.pool.dispose()
        up.stop()
        began = time.monotonic()
        with pytest.raises(exc.OperationalError):
            engine.connect()
        assert time.monotonic() - began < 5


@on_both
def test_an_outage_that_outlasts_the_borrower_is_named_in_its_timeout(up: EmbeddedPostgres):
    with engine_on(up.url(), **QUIET | {"pool_timeout": 0.3}) as engine:
        done(engine.pool.warm_up(10))
        held = None
        while held is None:
            try:
                held = engine.connect()
            except PoolTimeoutError:  # connecting took longer than the timeout
                continue
        held.close()
        engine.pool.dispose()
        up.stop()
        with pytest.raises(PoolTimeoutError, match="cannot be reached"):
            engine.connect()


@on_both
def test_a_password_that_no_longer_fits_reaches_the_borrower_at_once(up: EmbeddedPostgres):
    up.execute("DROP ROLE IF EXISTS clerk")
    up.execute("CREATE ROLE clerk LOGIN PASSWORD 'first'")
    with engine_on(up.url(user="clerk", password="first"), **QUIET | {"pool_timeout": 60}) as engine:
        with engine.connect():
            pass
        up.execute("ALTER ROLE clerk PASSWORD 'second'")
        engine.pool.dispose()
        began = time.monotonic()
        with pytest.raises(exc.OperationalError, match="password authentication failed"):
            engine.connect()
        assert time.monotonic() - began < 5
        up.execute("ALTER ROLE clerk PASSWORD 'first'")
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT current_user")) == "clerk"


@on_both
def test_during_an_outage_one_probe_at_a_time(shared_database: str):
    connects = Connects(shared_database)
    with engine_on(shared_database, creator=connects, **QUIET | {"max_size": 5, "pool_timeout": 60}) as engine:
        engine.raw_connection().invalidate()
        connects.error = refused
        connects.most = 0
        tasks = [Task(lambda: engine.raw_connection().close()) for _ in range(10)]
        in_line(engine.pool, 10)
        # The first ones to find the outage were opened side by side; from then on it is one.
        eventually(lambda: (stats := engine.pool.stats()).open_failures >= 1 and stats.opening == 0)
        connects.most = 0
        begun = connects.begun
        eventually(lambda: connects.begun >= begun + 2)
        assert connects.most <= 1
        connects.error = None
        for task in tasks:
            task.outcome(20)
        assert engine.pool.stats().timeouts == 0


@on_both
def test_a_permanent_error_in_the_middle_of_an_outage_is_told(shared_database: str):
    connects = Connects(shared_database)
    with engine_on(shared_database, creator=connects, **QUIET | {"max_size": 1, "pool_timeout": 60}) as engine:
        engine.raw_connection().invalidate()
        connects.error = refused
        task = Task(engine.connect)
        eventually(lambda: engine.pool.stats().open_failures >= 2)
        assert task.is_alive()
        connects.error = wrong_password
        with pytest.raises(exc.OperationalError, match="password"):
            task.outcome()


@on_both
def test_patience_ends(shared_database: str):
    connects = Connects(shared_database)
    numbers = QUIET | {"max_size": 1, "pool_timeout": 60, "reconnect_timeout": 0.3}
    with engine_on(shared_database, creator=connects, **numbers) as engine:
        engine.raw_connection().invalidate()
        connects.error = refused
        with pytest.raises(exc.OperationalError, match="Connection refused"):
            engine.connect()
        assert engine.pool.stats().open_failures >= 2


@on_both
def test_a_borrower_that_comes_in_a_long_outage_has_the_server_tried_soon(
    shared_database: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reconnecting, "retry_delay", lambda number, jitter: 3600.0)  # while nobody waits
    monkeypatch.setattr(borrowing, "NAP", float("inf"))
    connects = Connects(shared_database)
    numbers = QUIET | {"min_size": 1, "max_size": 1, "pool_timeout": 60}
    with engine_on(shared_database, creator=connects, **numbers) as engine:
        done(engine.pool.warm_up())
        connects.error = refused
        engine.raw_connection().invalidate()  # refilling fails
        eventually(lambda: engine.pool.stats().open_failures == 1 and engine.pool.stats().opening == 0)
        connects.error = None
        with engine.connect():
            pass
        assert engine.pool.stats().open_failures == 1
