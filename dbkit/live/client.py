"""Asks an application for its pool: over the unix socket of ``serve()``, or over HTTP where it shows it there."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from dbkit.errors import DbkitError
from dbkit.live.view import PoolView

_LARGEST: Final = 4 * 1024 * 1024


class LiveError(DbkitError):
    """The application's endpoint could not be asked, or did not answer with a pool. The message says why."""


def ask(place: str, *, timeout: float = 2.0, token: str | None = None) -> PoolView:
    """The pool of a running application, at this moment.

    Args:
        place: the path of a unix socket, a folder with one such socket in it, or an ``http(s)://`` URL.
        timeout: seconds for each step.
        token: sent as ``Authorization: Bearer`` to a URL; never over a socket.

    Raises:
        LiveError: nobody answers there, or it is no pool.
    """
    try:
        if place.startswith(("http://", "https://")):
            status, body = _over_http(place, timeout, token)
        else:
            status, body = _over_socket(_socket_at(Path(place)), timeout)
        told = json.loads(body)
        if status != http.client.OK:
            reason = told.get("error") if isinstance(told, dict) else None
            raise LiveError(f"{_shown(place)} answers {status}: {reason or http.client.responses.get(status, '')}")
        return PoolView.from_dict(told)
    except (OSError, http.client.HTTPException) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise LiveError(f"{_shown(place)} does not answer: {reason}") from error
    except ValueError as error:
        raise LiveError(f"{_shown(place)} answers with something else than a pool: {error}") from error


def _shown(place: str) -> str:
    """The place without what may be a secret in a URL."""
    if "://" not in place:
        return place
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _socket_at(path: Path) -> Path:
    if not path.is_dir():
        return path
    sockets = sorted(found for found in path.iterdir() if found.is_socket())
    if len(sockets) == 1:
        return sockets[0]
    names = ", ".join(found.name for found in sockets) or "none"
    raise LiveError(f"{path} is a folder; name one of the sockets in it: {names}")


class _OverSocket(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _over_socket(path: Path, timeout: float) -> tuple[int, bytes]:
    return _get(_OverSocket(path, timeout), "/pool", {})


def _over_http(url: str, timeout: float, token: str | None) -> tuple[int, bytes]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    path = (parts.path or "/pool") + (f"?{parts.query}" if parts.query else "")
    return _get(connection, path, {} if token is None else {"Authorization": f"Bearer {token}"})


def _get(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    try:
        connection.request("GET", path, headers={"Accept": "application/json", **headers})
        answer = connection.getresponse()
        body = answer.read(_LARGEST + 1)
    finally:
        connection.close()
    if len(body) > _LARGEST:
        raise ValueError("it is too long")
    return answer.status, body
