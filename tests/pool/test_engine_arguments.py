"""The pool on its own: given to ``create_engine`` by name, recreated, disposed, asked for its numbers."""

from __future__ import annotations

import inspect
import logging

import psycopg2
import pytest
from sqlalchemy import create_engine, event, exc, text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from dbkit.core.policy import NAMES, PoolPolicy
from dbkit.errors import DbkitError, SettingsError
from dbkit.pool.elastic import ElasticPool

from .helpers import QUIET, Admin, Connects, at_rest, engine_on, eventually, locked, pid_of, pool_on, slot_of, unique
from .runtimes import on_both, on_each_runtime

URL = "postgresql+psycopg2://nobody@localhost/nowhere"


def test_every_number_of_the_policy_is_an_argument_with_its_default():
    assert set(NAMES) <= set(inspect.signature(ElasticPool).parameters)
    assert ElasticPool(psycopg2.connect).policy == PoolPolicy()


def test_create_engine_routes_every_name():
    numbers = {
        "min_size": 3,
        "max_size": 7,
        "max_waiting": 5,
        "max_idle": 60.0,
        "max_lifetime": 600.0,
        "keepalive": 30.0,
        "reconnect_timeout": 20.0,
        "fair_after": 0.0,
    }
    engine = create_engine(URL, poolclass=ElasticPool, pool_timeout=2.5, **numbers)
    assert engine.pool.policy == PoolPolicy(timeout=2.5, **numbers)
    assert engine.pool.timeout() == 2.5


def test_queuepools_arguments_are_understood():
    engine = create_engine(
        URL,
        poolclass=ElasticPool,
        pool_size=4,
        max_overflow=3,
        pool_timeout=5,
        pool_recycle=900,
        pool_use_lifo=True,
        pool_pre_ping=True,
        pool_reset_on_return="commit",
        pool_logging_name="orders",
        echo_pool=False,
    )
    policy = engine.pool.policy
    assert (policy.min_size, policy.max_size, policy.timeout, policy.max_lifetime) == (2, 7, 5, 900)
    assert engine.pool.logging_name == "orders"


@pytest.mark.parametrize(
    ("given", "min_size", "max_size"),
    [
        ({"pool_size": 1}, 1, 11),
        ({"max_overflow": 0}, 2, 5),
        ({"pool_size": 3, "max_overflow": 0}, 2, 3),
        ({"min_size": 4, "pool_size": 6, "max_overflow": 2}, 4, 8),
    ],
)
def test_queuepools_sizes(given: dict[str, int], min_size: int, max_size: int):
    pool = ElasticPool(psycopg2.connect, **given)
    assert (pool.policy.min_size, pool.policy.max_size) == (min_size, max_size)


@pytest.mark.parametrize("given", [{"pool_size": 0}, {"max_overflow": -1}])
def test_queuepools_words_for_no_maximum(given: dict[str, int]):
    assert ElasticPool(psycopg2.connect, **given).policy.max_size > 10**6


def test_bad_numbers_are_all_named_with_their_values():
    with pytest.raises(SettingsError) as caught:
        create_engine(
            URL, poolclass=ElasticPool, min_size=-1, max_size="ten", pool_timeout=float("nan"), max_idle=0, keepalive=-3
        )
    assert isinstance(caught.value, exc.ArgumentError)
    assert isinstance(caught.value, ValueError)
    assert {fault.key for fault in caught.value.faults} == {"min_size", "max_size", "timeout", "max_idle", "keepalive"}
    for shown in ("-1", "'ten'", "nan", "-3"):
        assert shown in str(caught.value)


@pytest.mark.parametrize(
    ("given", "guilty"),
    [
        ({"min_size": 11}, "min_size"),
        ({"max_size": 1, "pool_size": 5}, "max_size"),
        ({"pool_size": -1}, "pool_size"),
        ({"max_overflow": -2}, "max_overflow"),
        ({"pool_size": True}, "pool_size"),
        ({"max_size": 2.0}, "max_size"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(given: dict[str, object], guilty: str):
    with pytest.raises(SettingsError) as caught:
        ElasticPool(psycopg2.connect, **given)
    assert guilty in {fault.key for fault in caught.value.faults}


def test_an_unknown_argument_is_refused_by_name():
    with pytest.raises(TypeError, match="min_sise"):
        create_engine(URL, poolclass=ElasticPool, min_sise=1)


class AsyncDialect(PGDialect_psycopg2):
    """What makes an engine an asyncio engine, without the libraries that a real one needs."""

    is_async = True
    supports_statement_cache = True


def test_an_asyncio_engine_refuses_it():
    registry.register("postgresql.seemingly_async", __name__, "AsyncDialect")
    with pytest.raises(exc.ArgumentError, match="use poolclass=AsyncElasticPool"):
        create_engine("postgresql+seemingly_async://nobody@localhost/nowhere", poolclass=ElasticPool)


def test_recreate_carries_everything():
    seen: list[str] = []
    engine = create_engine(
        URL,
        poolclass=ElasticPool,
        min_size=1,
        max_size=3,
        max_waiting=9,
        pool_recycle=77,
        pool_pre_ping=True,
        pool_reset_on_return=None,
        pool_logging_name="carried",
        echo_pool="debug",
        pool_events=[(lambda *_: seen.append("at birth"), "connect")],
    )
    logging.getLogger("sqlalchemy.pool.impl.ElasticPool.carried").setLevel(logging.WARNING)
    event.listen(engine.pool, "checkin", lambda *_: seen.append("later"))
    old = engine.pool
    new = old.recreate()
    assert type(new) is ElasticPool
    assert new is not old
    for name in (
        "policy",
        "_creator",
        "_recycle",
        "_pre_ping",
        "_reset_on_return",
        "_orig_logging_name",
        "logging_name",
        "echo",
        "_dialect",
    ):
        assert getattr(new, name) == getattr(old, name), name
    for name in ("connect", "checkin"):
        assert len(getattr(new.dispatch, name)) == len(getattr(old.dispatch, name)) > 0, name
    new.dispatch.checkin(None, None)
    assert seen == ["later"]
    assert new.recreate().policy == old.policy


def test_recreate_without_a_maximum():
    pool = ElasticPool(psycopg2.connect, pool_size=0)
    assert pool.recreate().policy == pool.policy


@on_each_runtime
def test_events_of_a_pool_survive_the_engines_dispose(shared_database: str):
    with engine_on(shared_database, **QUIET) as engine:
        seen: list[object] = []
        event.listen(engine.pool, "checkout", lambda *given: seen.append(given))
        engine.dispose()
        with engine.connect():
            pass
        assert len(seen) == 1


@on_each_runtime
def test_dispose_closes_what_is_idle_and_the_engine_goes_on(shared_database: str, admin: Admin):
    name = unique("dispose")
    with engine_on(shared_database, name=name, min_size=2, max_size=4) as engine:
        with engine.connect() as connection:
            before = pid_of(connection)
        at_rest(engine.pool, idle=2)
        old = engine.pool
        engine.dispose()
        eventually(lambda: not admin.pids(name))
        assert old.stats().size == 0
        assert old.stats().closes == {"disposed": 2}
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
            assert pid_of(connection) != before


@on_each_runtime
def test_what_is_out_at_dispose_works_on_and_is_closed_on_return(shared_database: str, admin: Admin):
    name = unique("out")
    with engine_on(shared_database, name=name, **QUIET | {"max_size": 2}) as engine:
        connection = engine.connect()
        pid = pid_of(connection)
        pool = engine.pool
        pool.dispose()
        assert pool.stats().in_use == 1
        assert connection.scalar(text("SELECT 2")) == 2
        with engine.connect() as another:  # the same pool is usable after its dispose
            assert pid_of(another) != pid
        connection.close()
        eventually(lambda: pid not in admin.pids(name))
        at_rest(pool, size=1, idle=1)
        assert pool.stats().closes == {"disposed": 1}


@on_both
def test_a_disposed_pool_rests_until_the_next_borrow(shared_database: str):
    connects = Connects(shared_database)
    pool = pool_on(connects, min_size=2)
    pool.connect().close()
    at_rest(pool, idle=2)
    pool.dispose()
    at_rest(pool, size=0)
    assert connects.begun == 2
    pool.connect().close()
    at_rest(pool, idle=2)
    pool.dispose()


@on_both
def test_queuepools_methods_and_the_status_line(shared_database: str):
    with engine_on(shared_database, **QUIET | {"max_size": 3}) as engine:
        pool = engine.pool
        with engine.connect(), engine.connect():
            with engine.connect():
                pass
            assert (pool.size(), pool.checkedout(), pool.checkedin(), pool.overflow()) == (3, 2, 1, 0)
            assert pool.size() + pool.overflow() == pool.stats().size
            status = pool.status()
        for part in ("ElasticPool 0-3", "3 connections", "1 idle", "2 in use", "0 opening", "0 waiting"):
            assert part in status


def test_it_works_without_an_engine(shared_database: str):
    pool = pool_on(Connects(shared_database), min_size=1, max_size=2)
    with pool.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 41 + 1")
        assert cursor.fetchone() == (42,)
    pool.dispose()


def test_a_creator_may_take_the_record(shared_database: str):
    given: list[object] = []

    def create(record: object) -> object:
        given.append(record)
        return psycopg2.connect(shared_database)

    pool = pool_on(create, **QUIET)
    connection = pool.connect()
    assert given == [slot_of(connection)]
    connection.close()
    pool.dispose()


@on_each_runtime
def test_a_connection_keeps_its_info_as_long_as_it_lives(shared_database: str):
    with engine_on(shared_database, **QUIET) as engine:
        with engine.connect() as connection:
            connection.info["seen"] = True
        with engine.connect() as connection:
            assert connection.info["seen"]
            connection.invalidate()
            assert "seen" not in connection.info


def test_a_borrow_from_within_the_lock_is_refused_in_words():
    pool = ElasticPool(psycopg2.connect)
    with locked(pool), pytest.raises(DbkitError, match="signal handler"):
        pool.connect()


@on_each_runtime
@pytest.mark.parametrize("style", ["rollback", "commit", None])
def test_reset_styles(shared_database: str, style: str | None):
    with engine_on(shared_database, pool_reset_on_return=style, **QUIET) as engine:
        with engine.raw_connection() as connection:
            connection.cursor().execute(f"CREATE TEMPORARY TABLE left_{style} (n int)")
        with engine.connect() as connection:
            found = connection.scalar(text("SELECT to_regclass(:name)::text"), {"name": f"left_{style}"})
        # Without a reset it is still in its transaction: the borrower asked for that.
        assert (found is None) == (style == "rollback")
        assert engine.pool.stats().opens == 1
