"""``liveness.py`` by itself: what a peek sees on a real socket, and what a ping does on a connection."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine

from dbkit.drivers.base import Driver
from dbkit.pool.elastic import ElasticPool
from dbkit.pool.internals import dialect_of
from dbkit.pool.liveness import ask, is_silent, make_peek

from .every_line import Double


class Plugged(Double):
    """A connection on a socket of the test's own, that writes down what is done with it."""

    def __init__(self, mine: socket.socket) -> None:
        self._mine = mine
        self.done: list[str] = []
        self.error: Exception | None = None

    def fileno(self) -> int:
        return self._mine.fileno()

    def cursor(self) -> Any:
        return self

    def execute(self, statement: str) -> None:
        self.done.append(statement)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.done.append("close")

    def rollback(self) -> None:
        self.done.append("rollback")


@pytest.fixture
def ends() -> Iterator[tuple[Plugged, socket.socket]]:
    """A connection, and the server's end of its socket."""
    mine, theirs = socket.socketpair()
    with mine, theirs:
        yield Plugged(mine), theirs


class ReadsByItself(Driver):
    reads_by_itself = True


Ends = tuple[Plugged, socket.socket]


@pytest.mark.parametrize("kind", [Driver, ReadsByItself])
def test_a_peek_sees_what_the_server_says(ends: Ends, kind: type[Driver]) -> None:
    connection, server = ends
    peek = make_peek(kind("a double's"), connection)
    assert peek is not None
    assert is_silent(peek)
    server.send(b"x")
    assert not is_silent(peek)
    assert peek(0)[0][0] == connection.fileno()


@pytest.mark.parametrize("kind", [Driver, ReadsByItself])
def test_one_that_was_closed_says_so_where_the_descriptor_may_be_anothers(ends: Ends, kind: type[Driver]) -> None:
    connection, _ = ends
    peek = make_peek(kind("a double's"), connection)
    assert peek is not None
    connection.closed = 1
    assert is_silent(peek) is not kind.reads_by_itself


def test_where_nothing_can_be_polled_there_is_no_peek(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_peek(Driver("a double's"), object()) is None
    monkeypatch.delattr(select, "poll")
    assert make_peek(Driver("a double's"), ends[0]) is None


def test_one_that_another_thread_peeks_at_is_peeked_at_again() -> None:
    answers: list[Callable[[], Any]] = [lambda: [(1, 1)], list, _busy, _busy]
    asked: list[int] = []

    def peek(milliseconds: int) -> Any:
        asked.append(milliseconds)
        return answers.pop()()

    assert is_silent(peek)
    assert not is_silent(peek)
    assert asked == [0, 0, 0, 0]


def _busy() -> Any:
    raise RuntimeError("concurrent poll() invocation")


def test_a_pool_without_an_engine_asks_in_the_words_of_the_standard(ends: Ends) -> None:
    connection, _ = ends
    no_dialect = dialect_of(ElasticPool(Double))
    assert ask(Driver("a double's"), connection, no_dialect)
    assert connection.done == ["SELECT 1", "close", "rollback"]
    connection.done.clear()
    connection.error = ConnectionError()
    with pytest.raises(ConnectionError):
        ask(Driver("a double's"), connection, no_dialect)
    assert connection.done == ["SELECT 1", "close"]


def test_a_dialect_asks_in_its_own_words(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    connection, _ = ends
    dialect = create_engine("postgresql+psycopg2://nobody@localhost/nowhere").dialect
    for answer in (True, False):
        monkeypatch.setattr(dialect, "_do_ping_w_event", lambda given, answer=answer: answer and given is connection)
        assert ask(Driver("a double's"), connection, dialect) is answer
    assert connection.done == ["rollback"]
