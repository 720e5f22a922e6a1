"""Servers that take a connection and then behave strangely: mute, slow to begin, or behind a silent network."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self


class Mute:
    """Connections are accepted by the system, and nobody ever answers. Its end resets them all."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()


class Proxy(Mute):
    """Passes connections on to a server. Its end cuts them all.

    Args:
        port: the server's, on loopback.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self._server = ("127.0.0.1", port)
        self._threads: list[threading.Thread] = []
        self._ends_of_pipes: list[socket.socket] = []
        self._start(self._accept)

    def _begins(self) -> None:
        """A connection is about to be passed on."""

    def _passes(self) -> None:
        """Something that was said is about to be passed on."""

    def _ends(self) -> None:
        """Nothing waits any more."""

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        self._begins()
        with client, contextlib.suppress(OSError), socket.create_connection(self._server) as server:
            self._ends_of_pipes += (client, server)
            back = self._start(self._pass_on, server, client)
            self._pass_on(client, server)
            back.join()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._passes()
                target.sendall(data)
        _cut((source, target))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends()
        _cut((self._listener, *self._ends_of_pipes))
        for thread in self._threads:
            thread.join(10)
        super().__exit__(kind, error, trace)


def _cut(ends: Iterable[socket.socket]) -> None:
    for end in ends:
        with contextlib.suppress(OSError):  # it is closed
            end.shutdown(socket.SHUT_RDWR)


class Slow(Proxy):
    """Each connection is passed on after a while.

    Args:
        port: the server's, on loopback.
        delay: seconds until it begins.
    """

    def __init__(self, port: int, delay: float) -> None:
        self._delay, self._over = delay, threading.Event()
        super().__init__(port)

    def _begins(self) -> None:
        self._over.wait(self._delay)

    def _ends(self) -> None:
        self._over.set()


class Gap(Proxy):
    """A network that may fall silent: then nothing is passed on, and nobody is told.

    Unlike a network that loses packets, the system still acknowledges what is sent to the proxy. So the kernel's clocks
    (``network_timeout``) see nothing amiss, and what ends a wait is the borrower's deadline.

    Args:
        port: the server's, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._flows = threading.Event()
        self._flows.set()
        super().__init__(port)

    def _begins(self) -> None:
        self._flows.wait()

    def _passes(self) -> None:
        self._flows.wait()

    def _ends(self) -> None:
        self.heal()

    def fall_silent(self) -> None:
        """From now on nothing arrives."""
        self._flows.clear()

    def heal(self) -> None:
        """What was held back arrives, and all that comes after it."""
        self._flows.set()
