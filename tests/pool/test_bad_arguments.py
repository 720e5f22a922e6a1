"""Bad arguments are refused before anything happens; text is read as settings are."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine, engine_from_config, exc

from dbkit.errors import SettingsError
from dbkit.pool.elastic import ElasticPool

from .every_line import Double
from .helpers import QUIET, pool_on
from .runtimes import done, on_both

BAD_SECONDS: list[Any] = [float("nan"), -1, "x", True, float("inf")]


@on_both
@pytest.mark.parametrize("seconds", BAD_SECONDS)
@pytest.mark.parametrize("operation", ["close", "pause", "warm_up", "borrow"])
def test_a_bad_timeout_is_refused_and_nothing_is_done(operation: str, seconds: Any):
    pool = pool_on(Double, **QUIET | {"min_size": 1})
    with pytest.raises(SettingsError, match="timeout"):
        done(getattr(pool, operation)(seconds))
    assert pool.stats().opens == 0
    with pool.connect():  # neither closed nor paused
        pass


@on_both
@pytest.mark.parametrize("operation", ["close", "pause"])
def test_none_is_no_number_of_seconds(operation: str):
    pool = pool_on(Double, **QUIET)
    with pytest.raises(SettingsError, match="timeout"):
        done(getattr(pool, operation)(None))
    with pool.connect():
        pass


def test_an_ini_files_text_is_read_as_settings_are():
    engine = engine_from_config(
        {
            "sqlalchemy.url": "sqlite://",
            "sqlalchemy.max_size": "3",
            "sqlalchemy.min_size": "1",
            "sqlalchemy.max_idle": "none",
            "sqlalchemy.keepalive": "2.5",
            "sqlalchemy.max_lifetime": "50",
            "sqlalchemy.pool_recycle": "100",
            "sqlalchemy.require_writer": "false",
        },
        poolclass=ElasticPool,
    )
    pool: Any = engine.pool
    policy = pool.policy
    assert (policy.min_size, policy.max_size, policy.max_idle, policy.keepalive) == (1, 3, None, 2.5)
    assert policy.max_lifetime == 50
    assert pool.require_writer is False


@pytest.mark.parametrize(
    ("name", "text"), [("max_size", "many"), ("max_idle", "soon"), ("require_writer", "perhaps"), ("min_size", "1.5")]
)
def test_text_that_cannot_be_read_is_refused_by_name(name: str, text: str):
    with pytest.raises(SettingsError, match=name):
        pool_on(Double, **{name: text})


def test_the_refusal_is_sqlalchemys_argument_error_too():
    with pytest.raises(exc.ArgumentError):
        pool_on(Double, max_size=0)


def test_max_size_beside_queuepools_words_is_a_contradiction():
    with pytest.raises(SettingsError, match="either max_size, or pool_size and max_overflow"):
        create_engine("sqlite://", poolclass=ElasticPool, max_size=10, pool_size=2, max_overflow=0)


def test_a_pool_without_a_limit_says_so():
    pool = pool_on(Double, pool_size=5, max_overflow=-1)
    assert "no limit" in repr(pool)
    assert "no limit" in pool.status()
    assert "9223372036854775807" not in repr(pool) + pool.status()
