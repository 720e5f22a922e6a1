"""What a dialect's commit refuses, and which of its errors leave nobody knowing: on doubles, one rule at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import exc

from dbkit.drivers import commits
from dbkit.drivers.base import Driver, Transaction
from dbkit.drivers.commits import check_commits, lost_at_commit


class Refused(Exception):
    """The driver's own error."""


class Known(Driver):
    """A driver that dbkit knows."""

    has_autocommit = True
    now = Transaction.OPEN
    committed = True

    def transaction(self, connection: Any) -> Transaction:
        return self.now

    def commit(self, connection: Any) -> bool:
        connection.sent.append("commit of the driver")
        return self.committed


class Connection:
    """A driver's connection, which is also SQLAlchemy's of it."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.closed = False
        self.connection = self.dbapi_connection = self

    def rollback(self) -> None:
        self.sent.append("rollback")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Known:
    made = Known("double")
    monkeypatch.setattr(commits, "for_dialect", lambda dialect: made)
    return made


@pytest.fixture
def connection() -> Connection:
    return Connection()


def checked(error: Exception | None = None, *, disconnects: bool = False) -> Any:
    """A dialect whose commits are checked; they raise this error."""

    def do_commit(connection: Any) -> None:
        connection.dbapi_connection.sent.append("commit")
        if error is not None:
            raise error

    dialect: Any = SimpleNamespace(
        do_commit=do_commit,
        do_prepare_twophase=lambda connection, xid: connection.sent.append(f"prepare {xid}"),
        do_commit_twophase=lambda connection, xid, is_prepared, recover: connection.sent.append(
            f"commit {xid} {is_prepared} {recover}"
        ),
        is_disconnect=lambda error, connection, cursor: disconnects,
        loaded_dbapi=SimpleNamespace(Error=Refused),
    )
    check_commits(dialect)
    return dialect


def test_a_commit_of_an_open_transaction_is_sent(driver: Known, connection: Connection):
    checked().do_commit(connection)
    assert connection.sent == ["commit"]


def test_an_aborted_transaction_is_rolled_back_and_refused(driver: Known, connection: Connection):
    driver.now = Transaction.FAILED
    with pytest.raises(exc.PendingRollbackError, match="Nothing was committed"):
        checked().do_commit(connection)
    assert connection.sent == ["rollback"]


def test_a_driver_that_cannot_tell_before_is_asked_to_tell_after(driver: Known, connection: Connection):
    driver.tells_failed = False
    checked().do_commit(connection)
    driver.committed = False
    with pytest.raises(exc.PendingRollbackError, match="Nothing was committed"):
        checked().do_commit(connection)
    assert connection.sent == ["commit of the driver"] * 2


@pytest.mark.parametrize(
    ("before", "closed", "disconnects", "lost"),
    [
        (Transaction.OPEN, True, False, True),
        (Transaction.OPEN, False, True, True),
        (Transaction.OPEN, False, False, False),
        (Transaction.NONE, True, True, False),
    ],
)
def test_an_error_at_commit_is_marked_where_the_connection_was_lost_in_a_transaction(
    driver: Known, connection: Connection, before: Transaction, closed: bool, disconnects: bool, lost: bool
):
    driver.now, connection.closed = before, closed
    with pytest.raises(Refused) as caught:
        checked(Refused(), disconnects=disconnects).do_commit(connection)
    assert lost_at_commit(caught.value) is lost


def test_two_phases(driver: Known, connection: Connection):
    dialect = checked()
    dialect.do_prepare_twophase(connection, "x")
    dialect.do_commit_twophase(connection, "x")
    dialect.do_commit_twophase(connection, "x", is_prepared=False, recover=True)
    assert connection.sent == ["prepare x", "commit x True False", "commit x False True"]
    driver.now = Transaction.FAILED
    for refused in (
        lambda: dialect.do_prepare_twophase(connection, "x"),
        lambda: dialect.do_commit_twophase(connection, "x", is_prepared=False),
    ):
        with pytest.raises(exc.PendingRollbackError, match="Nothing was committed"):
            refused()
    dialect.do_commit_twophase(connection, "y")  # prepared before: whatever failed since is another transaction
    assert connection.sent[3:] == ["commit y True False"]


def test_a_driver_that_cannot_tell_where_a_transaction_stands_is_left_alone(
    driver: Known, connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(commits, "for_dialect", lambda dialect: Driver("another"))
    driver.now = Transaction.FAILED
    checked().do_commit(connection)
    assert connection.sent == ["commit"]
