"""Ctrl-C while the main thread waits in a driver's C code: heard by a thread beside it.

Python runs a signal's handler between two instructions of the main thread, so a driver that waits in C keeps it off
until the server answers. But the interpreter writes the signal's number to its wake-up descriptor at once, from C. A
thread reads there, and tells whoever asked when the signal came: it may hear of it late, so the kernel notes the time.
See docs/decisions/interrupts.md. Invariants:

1. The descriptor is taken only where nobody has it, or where it is closed, and is given up for good to the first who
   takes it from us.
2. Only a Ctrl-C that will raise ``KeyboardInterrupt`` is told of: a program with a handler of its own decides itself.
3. A forked child neither reads nor writes the parent's descriptor. It starts without, as if nobody had listened.
"""

from __future__ import annotations

import _thread
import atexit
import logging
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

from dbkit.runtime.forks import in_child

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("dbkit.pool")

T = TypeVar("T")

LATE: Final = 0.01
"""Seconds. Where the kernel notes no time, Ctrl-C is taken to have come so long before it was heard."""

_SO_TIMESTAMPNS: Final = 35
_TIMESPEC: Final = struct.Struct("@ll")

_told: WeakKeyDictionary[Any, Callable[[Any, float], None]] = WeakKeyDictionary()


def tell(owner: T, callback: Callable[[T, float], None]) -> None:
    """Call ``callback(owner, moment)`` when Ctrl-C comes, on a thread beside the main one, while the owner lives.

    Args:
        owner: held weakly; must be hashable by identity.
        callback: must not hold the owner. The moment is when Ctrl-C came, by the monotonic clock.
    """
    _told[owner] = callback


def listen() -> None:
    """Called before the main thread may wait for a server; does nothing on other threads. Costs a microsecond."""
    global _listener  # noqa: PLW0603 - one for the process
    if not _told or _thread.get_ident() != threading.main_thread().ident:
        return
    if _listener is None:
        _listener = _Listener()
    _listener.take_its_place()


class _Listener:
    """The wake-up descriptor, and the thread that reads it. Made and placed by the main thread alone."""

    def __init__(self) -> None:
        self._ears, self._mouth = _stamping_pair() if sys.platform == "linux" else socket.socketpair()
        self._mouth.setblocking(False)
        self._stands_back = False
        try:
            _thread.start_new_thread(self._run, ())
        except (RuntimeError, MemoryError):
            self._stands_back = True
        atexit.register(self.leave)

    def take_its_place(self) -> None:
        """Have signals written to us, unless somebody else listens."""
        if self._stands_back:
            return
        ours = self._mouth.fileno()
        try:
            before = signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
        except ValueError:  # a subinterpreter
            self._stands_back = True
            return
        if before not in (-1, ours):
            self._stands_back = _put_back(before)

    def leave(self) -> None:
        """Have no signals written to us any more."""
        try:
            before = signal.set_wakeup_fd(-1)
        except ValueError:
            return
        if before not in (-1, self._mouth.fileno()):
            _put_back(before)

    def close(self) -> None:
        """Leave, and close both ends: in a forked child, where no thread reads."""
        self.leave()
        self._stands_back = True
        self._mouth.close()
        self._ears.close()

    def _run(self) -> None:
        while True:
            numbers, stamps = _hear(self._ears)
            if not numbers:
                return
            if signal.SIGINT in numbers and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                _tell_all(_moment(stamps))


def _put_back(descriptor: int) -> bool:
    """Have signals written to this descriptor, which was there before us. False if its owner has closed it."""
    try:
        signal.set_wakeup_fd(descriptor)
    except (OSError, ValueError):  # its number may be that of a file by now
        return False
    return True


def _stamping_pair() -> tuple[socket.socket, socket.socket]:
    """Connected sockets; what is read from the first comes with the time at which it was written."""
    ears, mouth = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with suppress(OSError):
        ears.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return ears, mouth


def _hear(ears: socket.socket) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    if sys.platform != "linux":
        return ears.recv(64), []
    numbers, stamps, _, _ = ears.recvmsg(64, 64)
    return numbers, stamps


def _moment(stamps: list[tuple[int, int, bytes]]) -> float:
    for level, kind, content in stamps:
        if (level, kind, len(content)) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS, _TIMESPEC.size):
            seconds, nanoseconds = _TIMESPEC.unpack(content)
            ago: float = time.time() - seconds - nanoseconds / 1e9
            return time.monotonic() - max(0.0, ago)
    return time.monotonic() - LATE


def _tell_all(moment: float) -> None:
    for reference in _told.keyrefs():
        owner = reference()
        callback = None if owner is None else _told.get(owner)
        if callback is None:
            continue
        try:
            callback(owner, moment)
        except Exception:
            logger.debug("After Ctrl-C, a statement could not be cancelled.", exc_info=True)


_listener: _Listener | None = None


def _start_afresh() -> None:
    global _listener
    inherited, _listener = _listener, None
    if inherited is not None:
        atexit.unregister(inherited.leave)
        inherited.close()


in_child(_start_afresh)
