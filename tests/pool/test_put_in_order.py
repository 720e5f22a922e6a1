"""What becomes of a connection that comes back otherwise than it was opened, on doubles."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from dbkit.drivers.base import Driver
from dbkit.events import CameBack, Observer
from dbkit.pool import base
from dbkit.pool.elastic import ElasticPool

from .every_line import Double
from .helpers import QUIET, eventually


class Mannered(Double):
    """A connection that can be made to behave otherwise."""

    manner = "as opened"
    clean = True
    cursors_close = True
    refuses: Exception | None = None


class Manners(Driver):
    """Sees how such a connection behaves, and puts it back."""

    def state(self, connection: Any) -> object:
        return connection.manner

    def is_untouched(self, connection: Any, state: object) -> bool:
        return self.behaves_as(connection, state) and self.is_clean(connection) and connection.cursors_close

    def behaves_as(self, connection: Any, state: object) -> bool:
        return bool(connection.manner == state)

    def set_state(self, connection: Any, state: Any) -> None:
        if connection.refuses is not None:
            raise connection.refuses
        connection.manner = state

    def close_cursors(self, connection: Any) -> bool:
        return bool(connection.cursors_close)

    def is_clean(self, connection: Any) -> bool:
        return bool(connection.clean)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ElasticPool]:
    monkeypatch.setattr(base, "for_dialect", lambda _: Manners("a double's"))
    return lambda **given: ElasticPool(Mannered, **QUIET | {"max_size": 1} | given)


def given_back(pool: ElasticPool, **changes: Any) -> Any:
    """A connection that its borrower changed in this way; as the next borrower finds it, None if it is not lent."""
    held = pool.connect()
    connection = held.driver_connection
    for name, value in changes.items():
        setattr(connection, name, value)
    held.close()
    with pool.connect() as again:
        return connection if again.driver_connection is connection else None


def test_another_manner_is_put_back(pool: Callable[..., ElasticPool]) -> None:
    made = pool()
    assert given_back(made, manner="otherwise").manner == "as opened"
    assert made.stats().closes == {}


@pytest.mark.parametrize("changes", [{"clean": False}, {"cursors_close": False}])
@pytest.mark.parametrize("manner", ["as opened", "otherwise"])
def test_what_cannot_be_cleaned_goes(pool: Callable[..., ElasticPool], changes: dict[str, Any], manner: str) -> None:
    made = pool()
    assert given_back(made, manner=manner, **changes) is None
    assert made.stats().closes == {"unfit": 1}


def test_what_cannot_be_put_back_goes_with_a_warning(
    pool: Callable[..., ElasticPool], caplog: pytest.LogCaptureFixture
) -> None:
    made = pool()
    with caplog.at_level(logging.WARNING, "dbkit.pool"):
        assert given_back(made, manner="otherwise", refuses=RuntimeError("it will not")) is None
    assert made.stats().closes == {"unfit": 1}
    [record] = caplog.records
    assert "could not be put back as it was opened" in record.getMessage()
    assert record.exc_info is not None
    assert "it will not" in str(record.exc_info[1])


def test_where_no_reset_is_wanted_it_stays_as_it_is(pool: Callable[..., ElasticPool]) -> None:
    made = pool(reset_on_return=None)
    assert given_back(made, manner="otherwise").manner == "otherwise"
    assert made.stats().closes == {}


def test_a_leak_that_came_back_is_told_with_its_time() -> None:
    class Keeps(Observer):
        told: list[CameBack] = []

        def came_back(self, fact: CameBack) -> None:
            self.told.append(fact)

    made = ElasticPool(Double, observer=Keeps(), **QUIET | {"leak_after": 0.02})
    began = time.monotonic()
    held = made.connect()
    with_it = held._connection_record
    eventually(lambda: with_it.leak_told_at == with_it.borrowed_at)
    held.close()
    [fact] = Keeps.told
    assert 0.02 <= fact.seconds <= time.monotonic() - began
    made.connect().close()
    assert len(Keeps.told) == 1
