"""A proxy on loopback that counts the statements a PostgreSQL client sends: each is one round trip."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class CountingProxy:
    """Passes connections on to a server and keeps the statements that the client sends.

    For clients without TLS and GSS encryption (``sslmode=disable gssencmode=disable``), whose every statement is one
    ``Q`` message; or one ``P`` message (parse), which psycopg 3 sends in one batch with those that bind and execute.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.queries: list[str] = []
        self._start(self._accept)

    def _start(self, target, *args) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += [client, server]
                self._start(self._to_server, client, server)
                self._start(self._to_client, server, client)

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        """Pass whole messages on; the first one, the startup message, has no type."""
        with contextlib.suppress(OSError), client.makefile("rb") as stream:
            head = 0
            while True:
                prefix = stream.read(head + 4)
                if len(prefix) < head + 4:
                    break
                body = stream.read(int.from_bytes(prefix[head:]) - 4)
                if prefix[:head] == b"Q":
                    self.queries.append(body.rstrip(b"\0").decode())
                elif prefix[:head] == b"P":
                    self.queries.append(body.split(b"\0")[1].decode())
                server.sendall(prefix + body)
                head = 1
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    @contextlib.contextmanager
    def expect(self, *queries: str) -> Iterator[None]:
        """Within the block the client says these queries and no other."""
        before = len(self.queries)
        yield
        assert self.queries[before:] == list(queries)
