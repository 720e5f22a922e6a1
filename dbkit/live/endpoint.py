"""The endpoint: a unix socket of the application's, on which it shows its pool. Read-only.

Invariants:

1. Nobody but the process's own account (and root) can connect: the socket gets its mode before it listens.
2. One daemon thread, asleep until somebody connects. It holds the manager or engine weakly, and ends with it.
3. A client that says nothing, or too much, is let go after ``PATIENCE``; what it sends is never run, only compared.
4. A forked child closes its copy of the socket; the file belongs to the process that made it, and goes with it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import stat
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

from dbkit.errors import DbkitError
from dbkit.live.view import PoolView
from dbkit.pool.base import BasePool
from dbkit.runtime import forks

if TYPE_CHECKING:
    from sqlalchemy.pool import Pool

logger = logging.getLogger("dbkit.live")

PATIENCE: Final = 2.0
"""Seconds for one client to ask and to read."""

_LONGEST_REQUEST: Final = 8192
_PATHS: Final = ("/pool", "/")


class HasPool(Protocol):
    """A ``DatabaseConnectionManager``, or an engine on an ``ElasticPool``."""

    @property
    def pool(self) -> Pool: ...


class EndpointError(DbkitError, OSError):
    """The endpoint cannot be opened there. The message says why, and what to do."""


def serve(source: HasPool, path: str | os.PathLike[str], *, name: str = "") -> LiveEndpoint:
    """Show a pool on a unix socket, until it is closed, or the manager or engine is gone, or the process ends.

    Args:
        source: whose pool to show, also the one that takes its place after ``engine.dispose()``. Held weakly.
        path: of the socket, in a folder that exists. Put the process's number in where there are several processes; a
            forked child opens one of its own. What a dead process left there is replaced.
        name: what to call the pool.

    Raises:
        EndpointError: there is something else at that place, or it cannot be made.
        TypeError: the pool is no ``ElasticPool``.
    """
    if not isinstance(source.pool, BasePool):
        raise TypeError(f"serve() shows an ElasticPool; this is a {type(source.pool).__name__}")
    return LiveEndpoint(source, Path(path), name)


class LiveEndpoint:
    """An open endpoint, made by ``serve()``; also a context manager. Thread-safe.

    Attributes:
        path: of the socket.
    """

    def __init__(self, source: HasPool, path: Path, name: str) -> None:
        self.path = path
        listener = _listen(path)
        self._listener = listener
        found = path.stat()
        self._end = weakref.finalize(source, _end, listener, path, (found.st_dev, found.st_ino), os.getpid())
        forks.start_afresh(self, LiveEndpoint._after_fork_in_child)
        threading.Thread(
            target=_answer_all, args=(listener, weakref.ref(source), name), daemon=True, name="dbkit live"
        ).start()

    def close(self) -> None:
        """Stop answering, and remove the socket. May be called again."""
        self._end()

    def _after_fork_in_child(self) -> None:
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LiveEndpoint {self.path}, {'open' if self._end.alive else 'closed'}>"


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _make_room(path)
        listener.bind(str(path))
        path.chmod(0o600)  # nobody can connect before listen()
        listener.listen(8)
    except OSError as error:
        listener.close()
        if isinstance(error, EndpointError):
            raise
        hint = "its folder must exist, be yours, and the whole path be short (some 100 characters)"
        raise EndpointError(f"no endpoint can be opened at {path}: {error.strerror or error}; {hint}") from error
    return listener


def _make_room(path: Path) -> None:
    """Remove the socket of a process that is gone; refuse to remove anything else."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise EndpointError(f"{path} exists and is no socket; give another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PATIENCE)
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno != errno.ECONNREFUSED:
                raise
            path.unlink()
            return
    raise EndpointError(f"another process answers at {path}; put the process's number into the path")


def _end(listener: socket.socket, path: Path, identity: tuple[int, int], owner: int) -> None:
    """Called once: by ``close()``, by the garbage collector, or at the process's end."""
    if os.getpid() != owner:
        return
    try:
        found = path.stat()
        if (found.st_dev, found.st_ino) == identity:
            path.unlink()
    except OSError:
        pass  # somebody removed it
    try:
        listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
    except OSError:
        pass  # macOS: a listening socket has no other end
    listener.close()


def _answer_all(listener: socket.socket, source: weakref.ref[HasPool], name: str) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # closed
            return
        try:
            with client:
                client.settimeout(PATIENCE)
                _answer(client, source, name)
        except OSError:
            logger.debug("A client of the live endpoint went away.", exc_info=True)


def _answer(client: socket.socket, source: weakref.ref[HasPool], name: str) -> None:
    request = b""
    while b"\r\n\r\n" not in request and len(request) < _LONGEST_REQUEST:
        more = client.recv(_LONGEST_REQUEST)
        if not more:
            return
        request += more
    method, _, rest = request.decode("latin-1").partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    body: dict[str, object]
    if method != "GET":
        status, body = "405 Method Not Allowed", {"error": "this endpoint is read-only: GET /pool"}
    elif path not in _PATHS:
        status, body = "404 Not Found", {"error": "there is GET /pool, and nothing else"}
    else:
        status, body = _picture(source, name)
    content = json.dumps(body).encode()
    head = f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    client.sendall(head.encode() + content)


def _picture(source: weakref.ref[HasPool], name: str) -> tuple[str, dict[str, object]]:
    shown = source()
    pool = shown.pool if shown is not None else None
    if not isinstance(pool, BasePool):
        return "503 Service Unavailable", {"error": "the pool is gone"}
    try:
        view = PoolView.of(pool.stats(), pool.holders(), name=name, pid=os.getpid(), profile=pool.profile())
    except Exception as error:  # the application must not lose its endpoint by it
        logger.warning("The live endpoint could not look at the pool.", exc_info=True)
        return "500 Internal Server Error", {"error": type(error).__name__}
    return "200 OK", view.to_dict()
