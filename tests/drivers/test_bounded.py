"""Waits for a server that says nothing: which blocks have a moment, and what comes of one that is given up."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest

from dbkit.drivers import bounded as module
from dbkit.drivers.base import Driver, Transaction
from dbkit.drivers.bounded import TIMEOUT, bound_statements, bounded, for_text, given_up, run_bounded
from dbkit.runtime.deadlines import Deadline, current

SHORT = 0.01
"""Seconds. A tenth of a second later the wait is given up."""


class Line:
    """A connection to a server that never says anything, and a cursor of it."""

    Error = psycopg2.Error
    OperationalError = psycopg2.OperationalError

    def __init__(self) -> None:
        self.own, self.servers = socket.socketpair()
        self.closed = False
        self.connection = self
        self.sent: list[str] = []

    def fileno(self) -> int:
        return self.own.fileno()

    def close(self) -> None:
        self.closed = True

    def wait(self, statement: str = "", *more: Any, context: Any = None) -> None:
        """Send, and wait for the answer; what ends is the connection."""
        self.sent.append(statement)
        self.own.settimeout(60)
        if self.own.recv(1) == b"":
            raise psycopg2.OperationalError("the connection was lost")


class Known(Driver):
    """A driver that dbkit knows."""

    has_autocommit = True
    now = Transaction.ACTIVE

    def transaction(self, connection: Any) -> Transaction:
        return self.now


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.own.close()
    made.servers.close()


@pytest.fixture
def driver() -> Known:
    return Known("double")


def within(seconds: float) -> Deadline:
    """Have a deadline from here on, until the end of the test."""
    deadline = Deadline(seconds)
    current.set(deadline)
    return deadline


@pytest.fixture(autouse=True)
def no_deadline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Before and after a test there is none; and what comes after one has little time here."""
    monkeypatch.setattr(module, "AFTERWARDS", 0.05)
    token = current.set(None)
    yield
    current.reset(token)


@pytest.mark.parametrize("by", ["timeout", "deadline"])
def test_a_wait_is_given_up_and_its_error_says_so(driver: Known, line: Line, by: str):
    timeout = SHORT if by == "timeout" else None
    if by == "deadline":
        within(SHORT)
    with pytest.raises(psycopg2.OperationalError) as caught, bounded(driver, line, timeout) as block:
        line.wait()
    assert block.lost
    given = given_up(caught.value)
    assert given is not None
    assert given.seconds == SHORT
    assert SHORT < given.took < 60


def test_the_earlier_of_timeout_and_deadline_counts(driver: Known, line: Line):
    within(1000)
    with pytest.raises(psycopg2.OperationalError) as caught:
        run_bounded(driver, line, SHORT, line.wait)
    given = given_up(caught.value)
    assert given is not None
    assert given.seconds == SHORT


def test_what_comes_after_the_deadline_has_a_while_for_itself(driver: Known, line: Line):
    deadline = within(0)
    deadline.at -= 1000  # long past
    began = time.monotonic()
    with pytest.raises(psycopg2.OperationalError), bounded(driver, line):
        line.wait()
    assert time.monotonic() - began >= 0.05


def test_an_answer_in_that_very_moment_costs_the_connection(driver: Known, line: Line):
    with bounded(driver, line, SHORT) as block:
        line.own.recv(1)
    assert block.lost
    assert line.closed


def test_a_call_that_was_answered_in_that_very_moment_raises(driver: Known, line: Line):
    with pytest.raises(psycopg2.OperationalError, match="answered too late") as caught:
        run_bounded(driver, line, SHORT, line.own.recv, 1)
    assert given_up(caught.value) is not None


def test_an_error_that_sqlalchemy_wrapped_is_marked_inside(driver: Known, line: Line):
    wrapped: Any = RuntimeError("wrapped")
    wrapped.orig = psycopg2.OperationalError("lost")
    bounded(driver, line, SHORT).mark(wrapped)
    assert given_up(wrapped) is None
    assert given_up(wrapped.orig) is not None


@pytest.mark.parametrize(("state", "lost"), [(Transaction.ACTIVE, True), (Transaction.OPEN, False)])
def test_a_block_that_does_other_things_too_is_given_up_while_the_server_is_at_work(
    driver: Known, line: Line, state: Transaction, lost: bool
):
    driver.now = state
    with bounded(driver, line, SHORT, idle_too=False) as block:
        line.own.settimeout(5 if lost else 0.3)
        try:
            line.own.recv(1)
        except TimeoutError:
            assert not lost
    assert block.lost == line.closed == lost


def test_what_ends_in_time_is_neither_marked_nor_costs_the_connection(driver: Known, line: Line):
    with bounded(driver, line, 1000) as block:
        pass
    assert not block.lost
    with pytest.raises(ZeroDivisionError) as caught, bounded(driver, line, 1000) as block:
        raise ZeroDivisionError
    assert not block.lost
    assert not line.closed
    assert given_up(caught.value) is None


def test_without_a_time_nothing_is_done(driver: Known, line: Line):
    with pytest.raises(psycopg2.OperationalError) as caught, bounded(driver, line) as block:
        line.servers.close()
        line.wait()
    assert not block.lost
    assert given_up(caught.value) is None
    assert not hasattr(line, "dbkit_cursors")


def test_a_deadline_counts_the_time_of_its_statements_once(driver: Known, line: Line):
    deadline, began = within(1000), time.monotonic()
    with bounded(driver, line):
        with bounded(driver, line):
            pass
        time.sleep(0.02)
    assert 0.02 <= deadline.spent().statements <= time.monotonic() - began
    before = deadline.spent().statements
    with bounded(driver, line, idle_too=False):
        time.sleep(0.02)
    assert deadline.spent().statements == before


@pytest.mark.parametrize(
    ("text", "times"), [("SELECT 1", 1), ("SELECT 1;\n ", 1), ("SELECT 1; SELECT 2", 2), ("a; b; c ;", 3)]
)
def test_a_text_has_the_timeout_for_each_of_its_statements(text: str, times: int):
    assert for_text(text, 2.5) == 2.5 * times
    assert for_text(text, None) is None


# ---- through a dialect


@pytest.fixture
def dialect(driver: Known, line: Line, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module, "for_dialect", lambda dialect: driver)
    made = SimpleNamespace(
        do_execute=lambda cursor, *sent, context=None: cursor.wait(*sent),
        do_execute_no_params=lambda cursor, *sent, context=None: cursor.wait(*sent),
        do_executemany=lambda cursor, *sent, context=None: cursor.wait(*sent),
        do_commit=lambda connection: connection.wait("COMMIT"),
        do_rollback=lambda connection: connection.wait("ROLLBACK"),
    )
    bound_statements(made)  # type: ignore[arg-type]
    return made


CALLS = {
    "do_execute": ("SELECT 1", ()),
    "do_execute_no_params": ("SELECT 1",),
    "do_executemany": ("SELECT 1", [()]),
    "do_commit": (),
    "do_rollback": (),
}


@pytest.mark.parametrize("name", CALLS)
def test_whatever_a_dialect_sends_has_the_deadline(dialect: Any, line: Line, name: str):
    within(SHORT)
    with pytest.raises(psycopg2.OperationalError) as caught:
        getattr(dialect, name)(line, *CALLS[name])
    assert given_up(caught.value) is not None


@pytest.mark.parametrize("name", ["do_execute", "do_execute_no_params"])
@pytest.mark.parametrize("given_by", ["name", "place"])
def test_a_statement_has_the_timeout_of_its_connections_option(dialect: Any, line: Line, name: str, given_by: str):
    context = SimpleNamespace(execution_options={TIMEOUT: SHORT})
    with pytest.raises(psycopg2.OperationalError) as caught:
        if given_by == "name":
            getattr(dialect, name)(line, *CALLS[name], context=context)
        else:
            getattr(dialect, name)(line, *CALLS[name], context)
    given = given_up(caught.value)
    assert given is not None
    assert given.seconds == SHORT
    assert line.sent == ["SELECT 1"]


def test_many_executions_have_no_timeout_here_for_the_server_counts_each(dialect: Any, line: Line):
    context = SimpleNamespace(execution_options={TIMEOUT: SHORT})
    line.servers.sendall(b"!")
    dialect.do_executemany(line, "SELECT 1", [()], context=context)
    line.servers.close()
    with pytest.raises(psycopg2.OperationalError) as caught:
        dialect.do_executemany(line, "SELECT 1", [()], context=context)
    assert given_up(caught.value) is None


def test_a_driver_that_dbkit_does_not_know_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "for_dialect", lambda dialect: Driver("another"))
    nothing: Any = SimpleNamespace()
    bound_statements(nothing)
    assert vars(nothing) == {}
