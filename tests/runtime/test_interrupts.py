"""Ctrl-C is heard beside the main thread: who is told, of which moment, and whose the wake-up descriptor is."""

from __future__ import annotations

import atexit
import logging
import signal
import socket
import struct
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from dbkit.runtime import interrupts
from dbkit.runtime.interrupts import listen, tell

from .helpers import PATIENCE, eventually, in_a_fork

NOBODYS = -1
"""The wake-up descriptor where nobody listens."""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux notes when a signal was written")


class Owner:
    """Wants to be told.

    Attributes:
        moments: when Ctrl-C came, as it was told.
    """

    def __init__(self) -> None:
        self.moments: list[float] = []
        tell(self, Owner.hear)

    def hear(self, moment: float) -> None:
        self.moments.append(moment)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody listens, and nobody is to be told but who the test makes."""
    threads: list[threading.Thread] = []

    def start_new_thread(function: Callable[[], None], arguments: tuple[()]) -> None:
        threads.append(threading.Thread(target=function, args=arguments, daemon=True))
        threads[-1].start()

    before = signal.set_wakeup_fd(NOBODYS)
    monkeypatch.setattr(interrupts, "_told", weakref.WeakKeyDictionary())
    monkeypatch.setattr(interrupts, "_listener", None)
    monkeypatch.setattr(
        interrupts, "_thread", SimpleNamespace(get_ident=threading.get_ident, start_new_thread=start_new_thread)
    )
    yield
    made = interrupts._listener
    if made is not None:
        made._mouth.shutdown(socket.SHUT_RDWR)  # which ends the thread
        for thread in threads:
            thread.join(PATIENCE)
        interrupts._start_afresh()
    signal.set_wakeup_fd(before, warn_on_full_buffer=False)


@pytest.fixture
def others() -> Iterator[socket.socket]:
    """A socket to which somebody else has signals written."""
    ears, mouth = socket.socketpair()
    mouth.setblocking(False)
    with ears, mouth:
        yield mouth


def press() -> None:
    """Press Ctrl-C."""
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def descriptor() -> int:
    """Where signals are written to."""
    found = signal.set_wakeup_fd(NOBODYS)
    signal.set_wakeup_fd(found, warn_on_full_buffer=False)
    return found


# ---- who is told


def test_who_asked_is_told_each_time(monkeypatch: pytest.MonkeyPatch):
    if sys.platform == "linux":
        monkeypatch.setattr(interrupts, "LATE", 1000.0)  # where the kernel noted nothing
    began, owners = monotonic(), [Owner(), Owner()]
    for times in (1, 2):
        listen()
        press()
        eventually(lambda times=times: all(len(one.moments) == times for one in owners))
    assert all(began - 100 < moment <= monotonic() for one in owners for moment in one.moments)


@pytest.mark.parametrize(
    ("numbers", "handler", "times"),
    [
        ([signal.SIGINT], signal.default_int_handler, 1),
        ([signal.SIGTERM], signal.default_int_handler, 0),
        ([signal.SIGTERM, signal.SIGINT, signal.SIGINT], signal.default_int_handler, 2),
        ([signal.SIGINT], signal.SIG_IGN, 0),
        ([signal.SIGINT], lambda *_: None, 0),
    ],
    ids=["Ctrl-C", "another signal", "several", "ignored", "a handler of the program's"],
)
def test_only_a_ctrl_c_that_raises_keyboard_interrupt_is_told_of(numbers: list[int], handler: Any, times: int):
    owner = Owner()
    ears, mouth = interrupts._stamping_pair()
    for number in numbers:
        mouth.send(bytes([number]))
    mouth.close()
    before = signal.signal(signal.SIGINT, handler)
    try:
        with ears:
            interrupts._Listener._run(SimpleNamespace(_ears=ears))  # type: ignore[arg-type]  # until the other end closed
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(owner.moments) == times


def test_one_that_fails_keeps_no_other_from_being_told(caplog: pytest.LogCaptureFixture):
    def fail(owner: Owner, moment: float) -> NoReturn:
        raise ValueError("its own trouble")

    first, second = Owner(), Owner()
    tell(first, fail)
    with caplog.at_level(logging.DEBUG, "dbkit.pool"):
        interrupts._tell_all(1.0)
    assert second.moments == [1.0]
    assert "its own trouble" in caplog.text


# ---- when it came


@on_linux
def test_the_kernel_notes_when_it_came(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interrupts, "LATE", 1000.0)
    ears, mouth = interrupts._stamping_pair()
    with ears, mouth:
        mouth.send(b"\2")
        numbers, stamps = interrupts._hear(ears)
    assert numbers == b"\2"
    assert monotonic() - 100 < interrupts._moment(stamps) <= monotonic()


def stamp(seconds: int, nanoseconds: int) -> tuple[int, int, bytes]:
    return socket.SOL_SOCKET, 35, struct.pack("@ll", seconds, nanoseconds)


@pytest.mark.parametrize(
    ("stamps", "moment"),
    [
        ([stamp(1000, 250_000_000)], 49.5),
        ([(socket.SOL_SOCKET, 1, b""), stamp(999, 0)], 48.25),
        ([stamp(1001, 0)], 50.0),
        ([], 50.0 - interrupts.LATE),
        ([(socket.SOL_SOCKET, 35, b"of another size")], 50.0 - interrupts.LATE),
        ([(socket.SOL_SOCKET, 34, struct.pack("@ll", 999, 0))], 50.0 - interrupts.LATE),
        ([(socket.IPPROTO_TCP, 35, struct.pack("@ll", 999, 0))], 50.0 - interrupts.LATE),
    ],
    ids=["half a second ago", "behind another", "the wall clock was set back", "no stamp", "size", "kind", "level"],
)
def test_the_moment_is_told_by_the_monotonic_clock(
    stamps: list[tuple[int, int, bytes]], moment: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(interrupts, "time", SimpleNamespace(time=lambda: 1000.75, monotonic=lambda: 50.0))
    assert interrupts._moment(stamps) == moment


# ---- whose the descriptor is


def test_where_nobody_wants_to_be_told_nobody_listens():
    listen()
    assert descriptor() == NOBODYS


def test_other_threads_do_not_listen():
    owner = Owner()
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join(PATIENCE)
    assert interrupts._listener is None
    assert descriptor() == NOBODYS
    assert owner.moments == []


def test_a_descriptor_that_somebody_has_is_left_alone_for_good(others: socket.socket):
    owner = Owner()
    signal.set_wakeup_fd(others.fileno())
    listen()
    assert descriptor() == others.fileno()
    signal.set_wakeup_fd(NOBODYS)
    listen()
    assert descriptor() == NOBODYS
    assert owner.moments == []


def test_a_descriptor_that_somebody_takes_from_us_is_given_up(others: socket.socket):
    owner = Owner()
    listen()
    assert signal.set_wakeup_fd(others.fileno()) != NOBODYS
    listen()
    assert descriptor() == others.fileno()
    assert interrupts._listener is not None
    interrupts._listener.leave()
    assert descriptor() == others.fileno()
    assert owner.moments == []


def test_a_descriptor_that_its_owner_closed_is_nobodys(others: socket.socket):
    """Where that one stood, a borrow failed with the operating system's "bad file descriptor"."""
    owner = Owner()
    signal.set_wakeup_fd(others.fileno())
    others.close()
    listen()
    press()
    eventually(lambda: owner.moments)


def test_leaving_does_not_mind_a_descriptor_that_its_owner_closed(others: socket.socket):
    owner = Owner()
    listen()
    signal.set_wakeup_fd(others.fileno())
    others.close()
    assert interrupts._listener is not None
    interrupts._listener.leave()
    assert descriptor() == NOBODYS
    assert owner.moments == []


def refuse(error: type[Exception]) -> Callable[..., NoReturn]:
    def refused(*_: object, **__: object) -> NoReturn:
        raise error

    return refused


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_without_a_thread_that_reads_the_descriptor_is_not_taken(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
):
    owner = Owner()
    with monkeypatch.context() as patched:
        patched.setattr(interrupts._thread, "start_new_thread", refuse(error))
        listen()
    assert descriptor() == NOBODYS
    listen()
    assert descriptor() == NOBODYS
    assert owner.moments == []


def test_where_python_has_no_descriptor_to_give_none_is_asked_for_again(monkeypatch: pytest.MonkeyPatch):
    """A subinterpreter."""
    owner = Owner()
    with monkeypatch.context() as patched:
        patched.setattr(signal, "set_wakeup_fd", refuse(ValueError))
        listen()
        assert interrupts._listener is not None
        interrupts._listener.leave()
    listen()
    assert descriptor() == NOBODYS
    assert owner.moments == []


def test_signals_that_are_not_read_are_dropped_without_a_word(monkeypatch: pytest.MonkeyPatch):
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    monkeypatch.setattr(interrupts._Listener, "_run", lambda self: None)
    owner = Owner()
    listen()
    assert interrupts._listener is not None
    with suppress(BlockingIOError):
        while True:
            interrupts._listener._mouth.send(b"\0")
    press()
    assert complaints == []
    assert owner.moments == []


def test_at_the_end_of_the_program_the_descriptor_is_given_back(monkeypatch: pytest.MonkeyPatch):
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    owner = Owner()
    listen()
    assert descriptor() != NOBODYS
    [leave] = at_exit
    leave()
    assert descriptor() == NOBODYS
    assert owner.moments == []


def test_a_child_starts_without_and_the_parent_goes_on_listening():
    owner = Owner()
    listen()
    assert interrupts._listener is not None
    ends = {interrupts._listener._ears.fileno(), interrupts._listener._mouth.fileno()}

    def what_is_left() -> str:
        left = [end for end in ends if Path(f"/dev/fd/{end}").exists()]
        return f"{descriptor()} {left} {interrupts._listener}"

    assert in_a_fork(what_is_left) == "-1 [] None"
    press()
    eventually(lambda: owner.moments)
