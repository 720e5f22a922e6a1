"""Every pool event fires as with QueuePool: the same scenario on both, and the same names in the same order."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, exc, text
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool
from sqlalchemy.util.concurrency import in_greenlet

from .helpers import QUIET, Recorder, at_rest, engine_on, eventually, slot_of
from .runtimes import on, on_each_runtime

Scenario = Callable[[Engine], Any]


def queue_pool() -> type[QueuePool]:
    """SQLAlchemy's own pool for this runtime."""
    return AsyncAdaptedQueuePool if in_greenlet() else QueuePool


def borrow_and_give_back(engine: Engine) -> None:
    for _ in range(2):
        engine.raw_connection().close()


def work_in_a_transaction(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("SELECT 1"))
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def two_at_once(engine: Engine) -> None:
    one, two = engine.raw_connection(), engine.raw_connection()
    one.close()
    two.close()


def invalidate(engine: Engine) -> None:
    engine.raw_connection().invalidate()
    engine.raw_connection().close()


def soft_invalidate(engine: Engine) -> None:
    connection = engine.raw_connection()
    connection.invalidate(soft=True)
    connection.close()
    engine.raw_connection().close()


def detach(engine: Engine) -> None:
    connection = engine.raw_connection()
    connection.detach()
    connection.close()
    engine.raw_connection().close()


def close_the_driver_connection(engine: Engine) -> None:
    connection = engine.raw_connection()
    connection.dbapi_connection.close()
    connection.close()
    engine.raw_connection().close()


def drop_without_giving_back(engine: Engine) -> None:
    connection = engine.raw_connection()
    del connection
    gc.collect()
    engine.raw_connection().close()


def a_checkout_event_asks_for_another(engine: Engine) -> None:
    asked: list[object] = []

    @event.listens_for(engine.pool, "checkout")
    def refuse_once(*_: object) -> None:
        if not asked:
            asked.append(True)
            raise exc.DisconnectionError

    engine.raw_connection().close()


def a_checkout_event_fails(engine: Engine) -> None:
    @event.listens_for(engine.pool, "checkout", once=True)
    def fail(*_: object) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        engine.raw_connection()
    engine.raw_connection().close()


def killed_while_out(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(exc.DBAPIError):
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    engine.raw_connection().close()


def dispose(engine: Engine) -> None:
    engine.raw_connection().close()
    engine.dispose()
    engine.raw_connection().close()


SCENARIOS: list[Scenario] = [
    borrow_and_give_back,
    work_in_a_transaction,
    two_at_once,
    invalidate,
    soft_invalidate,
    detach,
    drop_without_giving_back,
    a_checkout_event_asks_for_another,
    a_checkout_event_fails,
    killed_while_out,
    dispose,
]


@on_each_runtime
@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up:sqlalchemy.exc.SAWarning")
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("pre_ping", [False, True], ids=["", "pre_ping"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_same_events_as_queuepool(shared_database: str, scenario: Scenario, pre_ping: bool):
    compare_with_queuepool(shared_database, scenario, pre_ping)


@pytest.mark.parametrize("pre_ping", [False, True], ids=["", "pre_ping"])
def test_the_same_events_where_the_borrower_closed_the_connection(shared_database: str, pre_ping: bool):
    compare_with_queuepool(shared_database, close_the_driver_connection, pre_ping)


def compare_with_queuepool(shared_database: str, scenario: Scenario, pre_ping: bool) -> None:
    """What the scenario's events are on this pool, beside those on SQLAlchemy's."""
    with engine_on(shared_database, poolclass=queue_pool(), pool_pre_ping=pre_ping) as engine:
        theirs = Recorder(engine.pool)
        scenario(engine)
        expected = theirs.taken()
    with engine_on(shared_database, pool_pre_ping=pre_ping, **QUIET) as engine:
        ours = Recorder(engine.pool)
        scenario(engine)
        # What is closed on return is closed in the background: wait for as many events, then compare their order.
        eventually(lambda: len(ours.names) >= len(expected))
        at_rest(engine.pool, in_use=0, opening=0)
        got = ours.taken()
    assert sorted(got) == sorted(expected)
    assert [name for name in got if name != "close"] == [name for name in expected if name != "close"]
    assert got or expected


@on("psycopg", "asyncpg")
def test_on_a_loop_one_that_comes_back_closed_is_unfit_and_not_invalidated(shared_database: str):
    """It is found by the pool's job, after SQLAlchemy's reset. (QueuePool on asyncpg would lend it again.)"""
    with engine_on(shared_database, **QUIET) as engine:
        recorder = Recorder(engine.pool)
        close_the_driver_connection(engine)
        eventually(lambda: "close" in recorder.names)
        assert engine.pool.stats().closes == {"unfit": 1}
        names = recorder.taken()
    in_order = "first_connect connect checkout reset checkin connect checkout reset checkin"
    assert [name for name in names if name != "close"] == in_order.split()
    assert names.count("close") == 1


@on_each_runtime
def test_a_connection_is_closed_before_its_successor_is_used(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 1}) as engine:
        recorder = Recorder(engine.pool)
        engine.raw_connection().invalidate()
        engine.raw_connection().close()
    names = recorder.taken()
    assert names.index("invalidate") < names.index("close") < names.index("connect", 2) < names.index("reset")


@on_each_runtime
def test_the_arguments_of_every_event(shared_database: str):
    with engine_on(shared_database, **QUIET) as engine:
        seen: dict[str, tuple[Any, ...]] = {}
        for name in ("connect", "checkout", "reset", "checkin", "close"):
            event.listen(engine.pool, name, lambda *given, name=name: seen.setdefault(name, given))
        connection = engine.raw_connection()
        driver, record = connection.dbapi_connection, slot_of(connection)
        connection.close()
        engine.dispose()
        eventually(lambda: len(seen) == 5)
    for name, given in seen.items():
        assert given[:2] == (driver, record), name


@on_each_runtime
def test_a_connect_event_that_fails_is_the_borrowers_error_and_costs_no_slot(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 1}) as engine:

        @event.listens_for(engine.pool, "connect", once=True)
        def fail(*_: object) -> None:
            raise LookupError("no such setting")

        with pytest.raises(LookupError, match="no such setting"):
            engine.connect()
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        assert engine.pool.stats().size == 1


@on_each_runtime
def test_a_checkin_event_that_fails_costs_no_slot(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 1, "pool_timeout": 5}) as engine:

        @event.listens_for(engine.pool, "checkin", once=True)
        def fail(*_: object) -> None:
            raise LookupError

        with pytest.raises(LookupError):
            engine.raw_connection().close()
        gc.collect()
        at_rest(engine.pool, in_use=0)
        engine.raw_connection().close()
