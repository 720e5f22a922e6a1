"""A TLS front before the real server, as a load balancer has one: it ends TLS, and passes the rest on."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from pathlib import Path

SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class Front:
    """Listens on loopback. Without a certificate it says that it has no TLS, as a server without does.

    Args:
        host, port: the server behind.
        certificate: a file with the certificate and its key; None for no TLS.

    Attributes:
        port: where it listens.
        encrypted: sessions that began with TLS.
    """

    def __init__(self, host: str, port: int, certificate: Path | None) -> None:
        self._behind = (host, port)
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self.encrypted = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client.settimeout(60)
            if client.recv(8, socket.MSG_WAITALL) == SSL_REQUEST:
                client.sendall(b"N" if self._tls is None else b"S")
                if self._tls is not None:
                    client = self._tls.wrap_socket(client, server_side=True)
                    self.encrypted += 1
                behind = socket.create_connection(self._behind)
                self._open += [client, behind]
                threading.Thread(target=_pass_on, args=(behind, client), daemon=True).start()
                _pass_on(client, behind)
        client.close()

    def close(self) -> None:
        self._listener.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := source.recv(65536):
            sink.sendall(data)
