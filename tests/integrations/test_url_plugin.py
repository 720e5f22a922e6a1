"""``?plugin=dbkit``: the keys, what contradicts them, and engines made so on both drivers."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from sqlalchemy import create_engine, engine_from_config, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool, QueuePool

from dbkit import ElasticPool, SettingsError
from dbkit.core.policy import NAMES, PoolPolicy
from dbkit.integrations.url_plugin import KEYS, PREFIX

NUMBERS = {
    "min_size": 1, "max_size": 3, "timeout": 2.5, "max_waiting": 7, "max_idle": 8.0, "max_lifetime": 9.0,
    "keepalive": 10.0, "reconnect_timeout": 11.0, "fair_after": 0.25, "leak_after": 12.0,
}  # fmt: skip


def plugged(url: str, driver: str = "psycopg2", **keys: object) -> str:
    """The URL with the plugin and these keys, as an application's configuration has it."""
    query = {"plugin": "dbkit", **{PREFIX + name: str(value) for name, value in keys.items()}}
    changed = make_url(url).set(drivername=f"postgresql+{driver}").update_query_dict(query)
    return changed.render_as_string(hide_password=False)


def elsewhere(**keys: object) -> str:
    return plugged("postgresql://app@db.example/shop", **keys)


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_the_pool_of_an_engine_whose_url_says_so(shared_database: str, driver: str) -> None:
    engine = create_engine(plugged(shared_database, driver, max_size=3, min_size=0))
    try:
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        assert isinstance(engine.pool, ElasticPool)
        assert (engine.pool.policy.min_size, engine.pool.policy.max_size) == (0, 3)
        assert "dbkit" not in str(engine.url)
    finally:
        engine.dispose()


def test_every_number_of_the_pool_is_a_key() -> None:
    assert NUMBERS.keys() == set(NAMES)
    pool = create_engine(elsewhere(**NUMBERS)).pool
    assert isinstance(pool, ElasticPool)
    assert pool.policy == PoolPolicy(**NUMBERS)


def test_none_is_no_limit_and_defaults_are_the_pools() -> None:
    pool = create_engine(elsewhere(max_idle="none", max_size=1)).pool
    assert isinstance(pool, ElasticPool)
    assert pool.policy == PoolPolicy.of(max_idle=None, max_size=1)


def test_the_other_arguments_of_the_pool() -> None:
    pool = create_engine(elsewhere(require_writer="yes", reset="discard", logging_name="orders")).pool
    assert isinstance(pool, ElasticPool)
    assert (pool.require_writer, pool._reset, pool._orig_logging_name) == (True, "discard", "orders")


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        create_engine(elsewhere(max_size="many", maxsize=3, timeout=-1, reset="never", require_writer="perhaps"))
    assert {fault.key for fault in caught.value.faults} == {
        "max_size", "dbkit_maxsize", "timeout", "dbkit_reset", "dbkit_require_writer",
    }  # fmt: skip
    assert {fault.origin for fault in caught.value.faults} == {"URL"}
    assert isinstance(caught.value, ArgumentError)
    assert pickle.loads(pickle.dumps(caught.value)).faults == caught.value.faults


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("dbkit_maxsize", "did you mean 'dbkit_max_size'?"),
        ("dbkit_pool_size", "did you mean 'dbkit_max_size'?"),
        ("dbkit_pool_timeout", "did you mean 'dbkit_timeout'?"),
        ("DBKIT_MAX_SIZE", "did you mean 'dbkit_max_size'?"),
        ("dbkitmax_size", "did you mean 'dbkit_max_size'?"),
        ("dbkit_colour", "there are dbkit_min_size, dbkit_max_size"),
        ("dbkit_host", "there are dbkit_min_size, dbkit_max_size"),
    ],
)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(key: str, hint: str) -> None:
    with pytest.raises(SettingsError, match="there is no such key") as caught:
        create_engine(f"{elsewhere()}&{key}=3")
    assert hint in str(caught.value)


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="must be given once, and is given 2 times"):
        create_engine(f"{elsewhere(max_size=3)}&dbkit_max_size=4")


def test_a_minimum_above_the_maximum_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"min_size \(5\) is above max_size \(3\)"):
        create_engine(elsewhere(min_size=5, max_size=3))


def test_a_misplaced_password_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        create_engine(elsewhere(max_size="app:hunter2@db.example"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "arguments", "message"),
    [
        ({}, {"poolclass": QueuePool}, "poolclass=QueuePool"),
        ({}, {"pool": QueuePool(lambda: None)}, "plugin=dbkit makes the pool"),  # type: ignore[arg-type, return-value]
        ({"max_size": 3}, {"max_size": 4}, "max_size=4 says otherwise"),
        ({"timeout": 3}, {"pool_timeout": 4}, "pool_timeout=4 says otherwise"),
        ({"logging_name": "a"}, {"pool_logging_name": "b"}, "pool_logging_name='b' says otherwise"),
        ({"require_writer": "yes"}, {"require_writer": False}, "require_writer=False says otherwise"),
        ({"max_size": 3}, {"pool_size": 2}, "either max_size, or pool_size and max_overflow"),
    ],
)
def test_an_argument_that_contradicts_the_url_is_refused(
    keys: dict[str, object], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        create_engine(elsewhere(**keys), **arguments)
    assert message in str(caught.value)


def test_arguments_that_say_the_same_or_something_else_go_on_working() -> None:
    engine = create_engine(
        elsewhere(max_size=3), poolclass=ElasticPool, max_size="3", pool_timeout=4, leak_after=5.0, echo=False
    )
    assert isinstance(engine.pool, ElasticPool)
    assert (engine.pool.policy.max_size, engine.pool.policy.timeout, engine.pool.policy.leak_after) == (3, 4, 5.0)


def test_a_subclass_of_the_pool_is_kept() -> None:
    class Ours(ElasticPool):
        pass

    assert type(create_engine(elsewhere(max_size=3), poolclass=Ours).pool) is Ours


def test_a_program_that_wants_no_pool_gets_none() -> None:
    assert isinstance(create_engine(elsewhere(max_size=3), poolclass=NullPool).pool, NullPool)
    with pytest.raises(SettingsError, match="there is no such key"):
        create_engine(elsewhere(maxsize=3), poolclass=NullPool)


def test_the_words_of_queuepool_go_on_working_beside_it() -> None:
    pool = create_engine(elsewhere(leak_after=3), pool_size=4, max_overflow=1, pool_recycle=60).pool
    assert isinstance(pool, ElasticPool)
    assert (pool.policy.max_size, pool.policy.max_lifetime) == (5, 60)


def test_engine_from_config(shared_database: str) -> None:
    config = {"sqlalchemy.url": plugged(shared_database, max_size=3), "sqlalchemy.pool_timeout": "5"}
    engine = engine_from_config(config)
    try:
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        assert isinstance(engine.pool, ElasticPool)
        assert (engine.pool.policy.max_size, engine.pool.policy.timeout) == (3, 5)
    finally:
        engine.dispose()


def test_the_keys_are_arguments_of_the_pool() -> None:
    import inspect

    assert set(KEYS) <= set(inspect.signature(ElasticPool.__init__).parameters)
