"""The rollback that the loop carries, on doubles of psycopg's connection and of the loop: no server, no task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus

from dbkit.drivers.psycopg_rollback import Rollback, is_plain

SOCKET = 7


class Prepared:
    """psycopg's account of prepared statements."""

    def __init__(self) -> None:
        self._names: dict[bytes, bytes] = {}
        self.cleared = 0

    def clear(self) -> None:
        self.cleared += 1


@dataclass
class Server:
    """libpq's connection and the server behind it: answers come when a test lets them."""

    socket: int = SOCKET
    transaction_status: int = TransactionStatus.INTRANS
    unsent: int = 0
    lost: bool = False
    sent: list[bytes] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)

    def send_query(self, command: bytes) -> None:
        self._check()
        self.sent.append(command)

    def flush(self) -> int:
        self._check()
        return self.unsent

    def consume_input(self) -> None:
        self._check()

    def is_busy(self) -> bool:
        return not self.answers

    def get_result(self) -> Any:
        return self.answers.pop(0)

    def answer(self, status: ExecStatus = ExecStatus.COMMAND_OK) -> None:
        self.answers = [SimpleNamespace(status=status, get_error_message=lambda: "so it was said"), None]

    def _check(self) -> None:
        if self.lost:
            raise psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")


class Loop:
    """The part of a loop that is used, turned by hand."""

    def __init__(self, real: asyncio.AbstractEventLoop) -> None:
        self.create_future = real.create_future
        self.soon: list[Callable[[], None]] = []
        self.readers: dict[int, Callable[[], None]] = {}
        self.writers: dict[int, Callable[[], None]] = {}
        self.registered = 0
        self.call_soon = self.soon.append

    def add_reader(self, socket: int, call: Callable[[], None]) -> None:
        self.registered += 1
        assert socket not in self.readers
        self.readers[socket] = call

    def add_writer(self, socket: int, call: Callable[[], None]) -> None:
        assert socket not in self.writers
        self.writers[socket] = call

    def remove_reader(self, socket: int) -> None:
        del self.readers[socket]

    def remove_writer(self, socket: int) -> None:
        del self.writers[socket]

    def turn(self) -> None:
        for call in [*self.soon, *self.readers.values(), *self.writers.values()]:
            call()
        self.soon.clear()

    @property
    def watches(self) -> bool:
        return bool(self.soon or self.readers or self.writers)


@pytest.fixture
def loop() -> Iterator[Loop]:
    real = asyncio.new_event_loop()
    yield Loop(real)
    real.close()


def connection(server: Server, **more: Any) -> Any:
    quiet = {"_num_transactions": 0, "_tpc": None, "_pipeline": None, "_prepared": Prepared(), "lock": asyncio.Lock()}
    return SimpleNamespace(pgconn=server, **quiet | more)


def begin(server: Server, loop: Any) -> Rollback:
    return Rollback(connection(server), loop)


def test_an_answer_that_is_there_a_turn_later_needs_no_look_at_the_socket(loop: Loop):
    server = Server()
    raw = connection(server)
    rollback = Rollback(raw, loop)  # type: ignore[arg-type]
    assert server.sent == [b"ROLLBACK"]
    assert not rollback.over.done()
    assert raw.lock.locked(), "nobody else may use it meanwhile"
    server.answer()
    loop.turn()
    assert rollback.over.result() is None
    assert (loop.registered, loop.watches, raw._prepared.cleared) == (0, False, 1)
    assert not raw.lock.locked()


def test_one_that_takes_its_time_is_waited_for_at_the_socket(loop: Loop):
    server = Server()
    rollback = begin(server, loop)
    for _ in range(3):
        loop.turn()
    assert not rollback.over.done()
    assert loop.registered == 1
    server.answer()
    loop.turn()
    assert rollback.over.result() is None
    assert not loop.watches


def test_an_answer_that_comes_in_two_parts(loop: Loop):
    server = Server()
    rollback = begin(server, loop)
    server.answer()
    last = server.answers.pop()
    loop.turn()
    assert not rollback.over.done(), "the server has said what became of it, and not yet that it is ready"
    server.answers = [last]
    loop.turn()
    assert rollback.over.result() is None


def test_what_the_socket_does_not_take_at_once_is_sent_when_it_does(loop: Loop):
    server = Server(unsent=1)
    rollback = begin(server, loop)
    loop.turn()
    assert SOCKET in loop.writers
    server.unsent = 0
    loop.turn()
    assert SOCKET not in loop.writers
    server.answer()
    loop.turn()
    assert rollback.over.done()
    assert not loop.watches


@pytest.mark.parametrize("when", ["at once", "while it waits", "while it writes"])
def test_a_lost_connection_ends_it(loop: Loop, when: str):
    server = Server(unsent=int(when == "while it writes"))
    rollback = begin(server, loop)
    if when != "at once":
        loop.turn()
    if when == "while it writes":
        loop.readers.clear()
        rollback._reads = False
    server.lost = True
    loop.turn()
    with pytest.raises(psycopg.OperationalError, match="unexpectedly"):
        rollback.over.result()
    assert not loop.watches


def test_after_writing_failed_nothing_is_read_any_more(loop: Loop):
    server = Server(unsent=1)
    rollback = begin(server, loop)
    server.lost = True
    loop.writers[SOCKET]()
    assert isinstance(rollback.over.exception(), psycopg.OperationalError)
    server.lost = False
    loop.turn()
    assert not loop.watches


def test_one_that_was_never_sent_is_an_error_at_once(loop: Loop):
    raw = connection(Server(lost=True))
    with pytest.raises(psycopg.OperationalError):
        Rollback(raw, loop)  # type: ignore[arg-type]
    assert not loop.watches
    assert not raw.lock.locked()


def test_a_refusal_is_an_error_in_the_servers_words(loop: Loop):
    server = Server()
    rollback = begin(server, loop)
    server.answer(ExecStatus.FATAL_ERROR)
    loop.turn()
    with pytest.raises(psycopg.OperationalError, match="so it was said"):
        rollback.over.result()
    assert not loop.watches


@pytest.mark.parametrize("status", TransactionStatus)
def test_it_is_for_transactions_that_are_open_or_failed(status: TransactionStatus):
    in_transaction = status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)
    assert is_plain(connection(Server(transaction_status=status))) == in_transaction


def prepared() -> Prepared:
    found = Prepared()
    found._names[b"select 1"] = b"_pg3_0"
    return found


@pytest.mark.parametrize(
    "more",
    [
        {"_num_transactions": 1},
        {"_tpc": ("xid", False)},
        {"_pipeline": object()},
        {"_prepared": prepared()},
        {"lock": SimpleNamespace(locked=lambda: True)},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_more_than_a_bare_rollback_would_end_is_left_to_psycopg(more: dict[str, Any]):
    assert is_plain(connection(Server()))
    assert not is_plain(connection(Server(), **more))


@pytest.mark.parametrize("name", ["_num_transactions", "_tpc", "_pipeline", "_prepared", "lock"])
def test_so_is_everything_where_psycopg_has_other_names(name: str):
    raw = connection(Server())
    delattr(raw, name)
    assert not is_plain(raw)


def test_these_are_the_names_that_psycopg_has():
    """Else every rollback would be psycopg's own, which costs more, and nobody would see that."""
    closed: Any = SimpleNamespace(status=ConnStatus.BAD)
    raw = psycopg.AsyncConnection(closed)
    assert (raw._num_transactions, raw._tpc, raw._pipeline, raw._prepared._names) == (0, None, None, {})
    assert not raw.lock.locked()
