"""``require_writer``, on doubles: who is refused, and which error takes a connection for lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.engine.interfaces import Dialect

from dbkit.drivers.base import Driver
from dbkit.pool import server_checks
from dbkit.pool.server_checks import READ_ONLY, demand_writer, is_demoted, watch_for_read_only

from .every_line import Double


class DriverError(Exception):
    """The driver's own."""


class Knows(Driver):
    """A driver that answers as the test says: ``writes`` may be an error, and an error's text is its SQLSTATE."""

    can_ask_for_writer = True

    def __init__(self, *, writes: bool | Exception = True, by_itself: bool = False) -> None:
        super().__init__("a double's")
        self._writes = writes
        self._by_itself = by_itself

    def is_writer(self, connection: Any) -> bool:
        if isinstance(self._writes, Exception):
            raise self._writes
        return self._writes

    def error_for_read_only(self, connection: Any) -> Exception:
        return DriverError("session is read-only")

    def sqlstate(self, error: BaseException | None) -> str | None:
        return str(error)

    def asked_for_read_only(self, connection: Any) -> bool:
        return self._by_itself


@pytest.fixture
def dialect() -> Dialect:
    return create_engine("postgresql+psycopg2://nobody@localhost/nowhere").dialect


def test_a_writer_is_welcome() -> None:
    connection = Double()
    demand_writer(Knows(writes=True), connection)
    assert not connection.closed


@pytest.mark.parametrize("writes", [False, DriverError("gone")])
def test_all_others_are_closed(writes: bool | Exception) -> None:
    connection = Double()
    with pytest.raises(DriverError, match="read-only" if writes is False else "gone"):
        demand_writer(Knows(writes=writes), connection)
    assert connection.closed


def test_a_dialect_is_watched_once(dialect: Dialect) -> None:
    assert not event.contains(dialect, "handle_error", server_checks._on_error)
    for _ in range(2):
        watch_for_read_only(dialect)
        assert event.contains(dialect, "handle_error", server_checks._on_error)
    event.remove(dialect, "handle_error", server_checks._on_error)
    assert not event.contains(dialect, "handle_error", server_checks._on_error)
    watch_for_read_only(None)


def context(dialect: Dialect, error: Exception, *, borrowed: bool = True, invalidated: bool = False) -> Any:
    """What SQLAlchemy tells of an error."""
    connection = SimpleNamespace(invalidated=invalidated, connection=SimpleNamespace(dbapi_connection=Double()))
    return SimpleNamespace(
        dialect=dialect, original_exception=error, connection=connection if borrowed else None, is_disconnect=False
    )


@pytest.mark.parametrize(
    ("sqlstate", "given", "by_itself", "lost"),
    [
        (READ_ONLY, {}, False, True),
        (READ_ONLY, {}, True, False),
        ("57014", {}, False, False),
        (READ_ONLY, {"borrowed": False}, False, False),
        (READ_ONLY, {"invalidated": True}, False, False),
    ],
)
def test_the_error_of_a_server_that_lets_nobody_write_means_a_lost_connection(
    dialect: Dialect,
    monkeypatch: pytest.MonkeyPatch,
    sqlstate: str,
    given: dict[str, bool],
    by_itself: bool,
    lost: bool,
) -> None:
    monkeypatch.setattr(server_checks, "for_dialect", lambda _: Knows(by_itself=by_itself))
    watch_for_read_only(dialect)
    told = context(dialect, DriverError(sqlstate), **given)
    server_checks._on_error(told)
    assert told.is_disconnect is lost


def test_where_nobody_demands_a_writer_the_error_means_nothing(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_checks, "for_dialect", lambda _: Knows())
    assert not is_demoted(dialect, Double(), DriverError(READ_ONLY))
    watch_for_read_only(dialect)
    assert is_demoted(dialect, Double(), DriverError(READ_ONLY))
