"""What the pool says in its log, on doubles: which line, how loud, and with what fields."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import psycopg2
import pytest

from dbkit.pool.elastic import ElasticPool
from dbkit.pool.errors import PoolTimeoutError
from dbkit.runtime.threads import ThreadRuntime

from .every_line import Double
from .helpers import QUIET, at_rest, eventually, refused


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "dbkit.pool"), caplog.at_level(logging.DEBUG, "sqlalchemy.pool"):
        yield caplog


class Server:
    """Lets so many connects through, and refuses the others while it is ``down``."""

    def __init__(self, lets_through: int) -> None:
        self.left = lets_through
        self.down = True

    def __call__(self) -> Double:
        self.left -= 1
        if self.down and self.left < 0:
            raise refused()
        return Double()


def levels(log: pytest.LogCaptureFixture, words: str) -> list[str]:
    """How loud the lines are that have these words."""
    return [record.levelname for record in log.records if words in record.getMessage()]


def test_a_failure_that_a_borrower_is_told_of_is_no_warning(log: pytest.LogCaptureFixture) -> None:
    pool = ElasticPool(Server(0), **QUIET | {"max_size": 1})
    with pytest.raises(psycopg2.OperationalError):
        pool.connect()
    eventually(lambda: levels(log, "connecting failed"))
    assert set(levels(log, "connecting failed")) == {"DEBUG"}


def test_one_that_nobody_is_told_of_is_a_warning_once_until_it_is_over(log: pytest.LogCaptureFixture) -> None:
    server = Server(1)
    pool = ElasticPool(server, logging_name="orders", **QUIET | {"min_size": 2, "max_size": 2})
    held = pool.connect()
    eventually(lambda: len(levels(log, "connecting failed")) >= 2)
    assert levels(log, "connecting failed").count("WARNING") == 1
    server.down = False
    eventually(lambda: levels(log, "connected again after"))
    assert levels(log, "connected again after") == ["INFO"]
    at_rest(pool, idle=1)
    warned, again = (
        next(record for record in log.records if words in record.getMessage())
        for words in ("connecting failed", "connected again after")
    )
    assert "Connection refused" in warned.getMessage()
    assert warned.getMessage().startswith("pool orders: ")
    assert again.dbkit_failures >= 2
    held.close()


def test_a_pool_closed_while_connections_are_out_says_so(log: pytest.LogCaptureFixture) -> None:
    pool = ElasticPool(Double, **QUIET)
    held = pool.connect()
    assert len(pool.close(0)) == 1
    assert levels(log, "closed, with 1 connections still out") == ["WARNING"]
    held.close()
    assert pool.close(0) == ()
    assert len(levels(log, "still out")) == 1


def test_sqlalchemys_own_log_tells_of_the_pools_life(log: pytest.LogCaptureFixture) -> None:
    pool = ElasticPool(Double, **QUIET)
    pool.connect().close()
    pool.dispose()
    fresh = pool.recreate()
    assert levels(log, "Closing connection")
    assert any("(disposed)" in record.getMessage() for record in log.records)
    assert levels(log, "Pool disposed. ElasticPool 0-10: 0 connections") == ["INFO"]
    assert levels(log, "Pool recreating") == ["INFO"]
    fresh.dispose()


def test_without_a_thread_the_pool_says_so_once_until_there_is_one(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn, there_are = ThreadRuntime.spawn, [False]
    monkeypatch.setattr(
        ThreadRuntime, "spawn", lambda runtime, job, context: there_are[0] and spawn(runtime, job, context)
    )
    pool = ElasticPool(Double, **QUIET)
    for warnings in (1, 2):
        there_are[0] = False
        with pytest.raises(PoolTimeoutError):
            pool.borrow(0.6)  # seconds: it tries again meanwhile
        assert levels(log, "no thread can be started") == ["WARNING"] * warnings
        there_are[0] = True
        held = pool.connect()
        held.invalidate()
