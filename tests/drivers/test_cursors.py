"""What a loan leaves open on a connection: remembered, closed when it comes back, or the end of the connection."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest

from dbkit.drivers.base import Transaction
from dbkit.drivers.cursors import close, none_open, remember, remembering, still_open
from dbkit.drivers.libpq import LibpqDriver


class Cursor:
    """A cursor that may refuse to be closed."""

    def __init__(self, name: str | None = None, *, withhold: bool = False, refuses: bool = False) -> None:
        self.name, self.withhold, self.refuses = name, withhold, refuses
        self.closed = False

    def close(self) -> None:
        if self.refuses:
            raise RuntimeError("the transaction is over")
        self.closed = True


class Plain:
    """A driver's connection."""

    Error = RuntimeError
    closed = False

    def __init__(self) -> None:
        self.sent: list[str] = []

    def cursor(self, **options: Any) -> Cursor:
        return Cursor(**options)

    def rollback(self) -> None:
        self.sent.append("rollback")


class Known(LibpqDriver):
    """A driver built on libpq."""

    now = Transaction.NONE
    clears = True

    def transaction(self, connection: Any) -> Transaction:
        return Transaction.NONE if "rollback" in connection.sent else self.now

    def _discard(self, connection: Any) -> None:
        if not self.clears:
            raise RuntimeError("no")


@pytest.fixture
def connection() -> Any:
    return remembering(Plain)()


@pytest.fixture
def driver() -> Known:
    return Known("double")


def test_cursors_are_remembered_while_they_are_open(connection: Any):
    assert (connection.dbkit_cursors, connection.dbkit_cursor_at) == ({}, 0.0)
    before = time.monotonic()
    kept = connection.cursor()
    assert before <= connection.dbkit_cursor_at <= time.monotonic()
    assert not none_open(connection.dbkit_cursors)
    kept.close()
    assert none_open(connection.dbkit_cursors)
    assert connection.dbkit_cursors == {}
    connection.cursor()
    gc.collect()
    assert none_open(connection.dbkit_cursors)


def test_what_is_left_is_taken_out(connection: Any):
    kept, shut = connection.cursor(), connection.cursor()
    shut.close()
    assert still_open(connection.dbkit_cursors) == [kept]
    assert connection.dbkit_cursors == {}


def test_what_has_no_word_for_closed_counts_as_open():
    class Odd:
        pass

    odd, cursors = Odd(), dict[int, Any]()
    assert remember(cursors, odd) is odd
    assert still_open(cursors) == [odd]
    assert remember(cursors, 7) == 7  # nothing leads weakly to a number
    assert cursors == {}


def test_a_class_remembers_once():
    assert remembering(remembering(Plain)) is remembering(Plain)


@pytest.mark.parametrize(
    ("cursor", "raises"),
    [
        (Cursor(), False),
        (Cursor(refuses=True), True),
        (Cursor("of the server", refuses=True), False),
        (Cursor("of the server", withhold=True, refuses=True), True),
    ],
)
def test_a_servers_cursor_whose_transaction_is_over_need_not_be_closed(cursor: Cursor, raises: bool):
    if raises:
        with pytest.raises(RuntimeError):
            close(cursor)
    else:
        close(cursor)


@pytest.mark.parametrize("now", [Transaction.NONE, Transaction.OPEN])
def test_cursors_left_open_are_closed_and_their_transaction_ended(driver: Known, connection: Any, now: Transaction):
    driver.now, kept = now, connection.cursor()
    assert not driver.is_untouched(connection, None)
    assert driver.close_cursors(connection)
    assert kept.closed
    assert connection.sent == (["rollback"] if now is Transaction.OPEN else [])


def test_a_connection_whose_cursor_cannot_be_closed_is_not_kept(driver: Known, connection: Any):
    kept = connection.cursor(refuses=True)
    assert not driver.close_cursors(connection)
    assert not kept.closed


def test_without_cursors_nothing_is_sent(driver: Known, connection: Any):
    driver.now = Transaction.OPEN
    assert driver.close_cursors(connection)
    assert connection.sent == []


def test_cursors_that_are_closed_leave_a_connection_untouched(driver: Known, connection: Any):
    kept = connection.cursor()
    kept.close()
    assert driver.is_untouched(connection, None)


def test_a_session_that_cannot_be_cleared_is_not_kept(driver: Known, connection: Any):
    assert driver.discard_session(connection)
    driver.clears = False
    assert not driver.discard_session(connection)
