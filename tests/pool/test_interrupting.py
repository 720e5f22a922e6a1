"""Which statement of the main thread is cancelled, and what becomes of its connection: on doubles, without a signal."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dbkit.drivers.base import Driver, Transaction
from dbkit.pool import interrupting
from dbkit.pool.elastic import ElasticPool

from .every_line import Double
from .helpers import QUIET
from .runtimes import Task


class Server(Driver):
    """A driver whose connections are all in a statement, until they were cancelled and looked at a few times.

    Attributes:
        looks: how often after the cancel the statement is still seen running; None for ever.
        done: the words ``cancel`` and ``shut down``, as they happen.
        looked: how often anybody looked.
        on_look: called at each look.
    """

    hears_interrupts = False
    looks: int | None = 0
    refuses = False

    def __init__(self) -> None:
        super().__init__("a double's")
        self.done: list[str] = []
        self.active = True
        self.looked = 0
        self.on_look: Callable[[], None] = lambda: None

    def transaction(self, connection: Any) -> Transaction:
        self.looked += 1
        self.on_look()
        if self.active and "cancel" in self.done and self.looks is not None:
            self.active = self.looks > 0
            self.looks -= 1
        return Transaction.ACTIVE if self.active else Transaction.NONE

    def cancel(self, connection: Any) -> bool:
        self.done.append("cancel")
        if self.refuses:
            raise connection.Error
        return True

    def shut_down(self, connection: Any) -> None:
        self.done.append("shut down")


class Cursors(Double):
    """A connection that knows when its last cursor was made."""

    class Error(Exception):
        """DB-API's."""

    def __init__(self) -> None:
        self.dbkit_cursor_at = time.monotonic() - 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(interrupting, "for_connection", lambda connection: made)
    return made


@pytest.fixture
def pool() -> Iterator[ElasticPool]:
    made = ElasticPool(Cursors, **QUIET | {"max_size": 2})
    yield made
    made.close(0)


def is_used_again(pool: ElasticPool, held: Any) -> bool:
    """Whether the connection goes to the next borrower, once it is given back."""
    connection = held.driver_connection
    held.close()
    again = pool.connect()
    try:
        return again.driver_connection is connection
    finally:
        again.close()


def interrupt(pool: ElasticPool, moment: float = math.inf) -> None:
    """What happens beside the main thread when Ctrl-C was pressed: just now, if no moment is given."""
    Task(interrupting.cancel_of_main_thread, pool, min(moment, time.monotonic())).outcome()


def test_a_statement_that_ends_costs_no_more_than_its_connection(pool: ElasticPool, server: Server) -> None:
    held = pool.connect()
    server.looks = 3
    interrupt(pool)
    assert server.done == ["cancel"]
    assert not is_used_again(pool, held)


def test_two_interrupts_leave_the_connection_as_bad_as_one(pool: ElasticPool, server: Server) -> None:
    held = pool.connect()
    interrupt(pool)
    server.active = True
    interrupt(pool)
    assert not is_used_again(pool, held)


def test_a_server_that_goes_on_is_given_its_time_and_then_up(
    pool: ElasticPool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupting, "PATIENCE", 0.1)
    held = pool.connect()
    server.looks = None
    looked: list[float] = []
    server.on_look = lambda: looked.append(time.monotonic())
    began = time.monotonic()
    interrupt(pool)
    assert time.monotonic() - began >= 0.1
    assert server.done == ["cancel", "shut down"]
    assert len(looked) < 20  # it rests between two looks
    held.close()


def test_a_server_that_cannot_be_asked_is_given_up_at_once(pool: ElasticPool, server: Server) -> None:
    held = pool.connect()
    server.refuses, server.looks = True, None
    interrupt(pool)
    assert server.done == ["cancel", "shut down"]
    held.close()


def test_the_next_statement_is_not_waited_for(pool: ElasticPool, server: Server) -> None:
    held = pool.connect()
    server.looks = None

    def go_on() -> None:
        if server.done:
            held.driver_connection.dbkit_cursor_at = time.monotonic()

    server.on_look = go_on
    interrupt(pool)
    assert server.done == ["cancel"]
    held.close()


def spared(pool: ElasticPool, server: Server, held: Any, moment: float = math.inf) -> bool:
    interrupt(pool, moment)
    return not server.done and is_used_again(pool, held)


def test_a_driver_that_hears_by_itself_is_left_alone(pool: ElasticPool, server: Server) -> None:
    server.hears_interrupts = True
    assert spared(pool, server, pool.connect())


def test_a_connection_without_a_statement_is_left_alone(pool: ElasticPool, server: Server) -> None:
    server.active = False
    assert spared(pool, server, pool.connect())


def test_a_statement_that_began_after_it_was_pressed_is_left_alone(pool: ElasticPool, server: Server) -> None:
    held = pool.connect()
    assert spared(pool, server, held, held.driver_connection.dbkit_cursor_at - 0.001)


def test_one_that_began_at_that_very_moment_is_cancelled(pool: ElasticPool, server: Server) -> None:
    held = pool.connect()
    interrupt(pool, held.driver_connection.dbkit_cursor_at)
    assert server.done == ["cancel"]
    held.close()


def test_one_that_does_not_say_when_it_began_is_cancelled(pool: ElasticPool, server: Server) -> None:
    held = pool.connect()
    del held.driver_connection.dbkit_cursor_at
    interrupt(pool)
    assert server.done == ["cancel"]
    held.close()


def test_another_threads_statement_is_left_alone(pool: ElasticPool, server: Server) -> None:
    held = Task(pool.connect).outcome()
    assert spared(pool, server, held)


def test_what_is_given_back_meanwhile_is_not_cancelled(pool: ElasticPool, server: Server) -> None:
    held = pool.connect()
    kept = [held]
    del held
    server.on_look = lambda: kept.pop().close() if kept else None
    interrupt(pool)
    assert not server.done


def test_what_is_borrowed_again_meanwhile_is_not_cancelled(
    pool: ElasticPool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same thread even: it is another borrow, whose statement is another."""
    pool.resize(0, 1)
    kept, original = [pool.connect()], pool._step
    look, swapped = threading.Event(), threading.Event()

    def condemn_after_the_swap(step: Callable[..., Any], **given: Any) -> Any:
        if threading.current_thread() is not threading.main_thread() and server.looked:
            look.set()
            assert swapped.wait(60)
        return original(step, **given)

    monkeypatch.setattr(pool, "_step", condemn_after_the_swap)
    cancelling = Task(interrupting.cancel_of_main_thread, pool, time.monotonic())
    assert look.wait(60)
    kept.pop().close()
    kept.append(pool.connect())
    swapped.set()
    cancelling.outcome()
    assert not server.done
    kept.pop().close()


def test_an_idle_pool_has_nothing_to_cancel(pool: ElasticPool, server: Server) -> None:
    pool.connect().close()
    interrupt(pool)
    assert not server.done
