"""The program's end of the guard (see ``guard_process.py``): start it, ask it, let it go.

Thread-safe: one request at a time. Fork-safe: a forked child drops its copy of the link at once, so that the guard
still sees the end of the program that started it, and the child can neither stop the server nor keep it alive.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dbkit.embedded import launch
from dbkit.errors import EmbeddedServerError
from dbkit.runtime.forks import start_afresh

SCRIPT = Path(__file__).with_name("guard_process.py")
MARGIN = 30.0  # seconds beyond what was asked of the guard, before it counts as lost (its own worst case)
LEAVE = 35.0  # seconds for the guard to stop the server by ever more force


class Guard:
    """A process that runs a server for this program and ends it when the program is gone.

    Args:
        remove: folders to remove when the guard ends.
        goodbye: the signal that stops the server when the program is gone.
        log: where the guard's own complaints go.
        hold: an open file that the guard keeps open for as long as it lives (a lock), or None.
    """

    def __init__(self, remove: Iterable[Path], goodbye: signal.Signals, log: Path, hold: int | None) -> None:
        self._owner = os.getpid()
        self._turn = threading.Lock()
        self._hold = hold
        self._keep: socket.socket | None = None
        self._link, theirs = socket.socketpair()
        spec = json.dumps({"remove": [str(folder) for folder in remove], "goodbye": int(goodbye)})
        start_afresh(self, Guard.forget)
        try:
            with log.open("ab") as complaints:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(SCRIPT), spec],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=complaints,
                    cwd="/",
                    env=launch.environment(),
                    start_new_session=True,  # Ctrl-C goes to a terminal's whole group: the guard must not be in it
                    pass_fds=() if hold is None else (hold,),
                )
        except OSError as error:
            self._link.close()
            raise EmbeddedServerError(f"cannot run {sys.executable!r} for the server's guard: {error}") from error
        finally:
            theirs.close()

    @property
    def is_mine(self) -> bool:
        """Whether this process started it (False in a forked child)."""
        return self._owner == os.getpid()

    @property
    def is_open(self) -> bool:
        """Whether it can still be asked."""
        return self.is_mine and self._link.fileno() >= 0

    def require_open(self) -> None:
        """Raise EmbeddedServerError unless it can still be asked."""
        if not self.is_open:
            raise EmbeddedServerError("this embedded server was closed, or was started by another process")

    def hold_port(self, reservation: socket.socket | None) -> None:
        """Keep a bound socket open until the guard is let go."""
        if self._keep is not None:
            self._keep.close()
        self._keep = reservation

    def ask(self, do: str, *, seconds: float = 0.0, **details: Any) -> dict[str, Any]:
        """Send one request and return the answer.

        Args:
            do: ``run``, ``start``, ``poll`` or ``signal``; ``details`` are its arguments.
            seconds: how long the guard may take over it.

        Raises:
            EmbeddedServerError: the guard is gone, belongs to another process, or could not do it.
        """
        self.require_open()
        with self._turn:
            try:
                self._link.settimeout(seconds + MARGIN)
                self._link.sendall(json.dumps({"do": do, **details}).encode() + b"\n")
                answer: dict[str, Any] = json.loads(self._read_line())
            except (OSError, ValueError) as error:
                self._link.close()
                raise EmbeddedServerError(f"the guard of the embedded server is gone ({error})") from error
            except BaseException:  # Ctrl-C: the answer will come too late, so nothing more can be asked
                self._link.close()
                raise
        if "error" in answer:
            raise EmbeddedServerError(f"cannot run the server's programs: {answer['error']}")
        return answer

    def _read_line(self) -> bytes:
        received = b""
        while not received.endswith(b"\n"):
            part = self._link.recv(65536)
            if not part:
                raise ConnectionError("it ended")
            received += part
        return received

    def let_go(self) -> None:
        """Close the link and wait until the guard has stopped the server, cleaned up and ended. May be called twice.

        Raises:
            EmbeddedServerError: it did not end in time.
        """
        if not self.is_mine:
            return
        self._link.close()
        self.hold_port(None)
        try:
            self._process.wait(LEAVE)
        except subprocess.TimeoutExpired as error:
            raise EmbeddedServerError(
                f"the guard of the embedded server (process {self._process.pid}) did not end within {LEAVE:g} s"
            ) from error
        finally:
            self._drop_hold()

    def _drop_hold(self) -> None:
        if self._hold is not None:
            os.close(self._hold)
            self._hold = None

    def forget(self) -> None:
        """Drop what a fork copied here. Never closes anything of the parent's."""
        self._link.close()
        self._turn = threading.Lock()
        self.hold_port(None)
        self._drop_hold()


def lock_file(path: Path, timeout: float) -> int:
    """Open and lock a file for this program, waiting up to ``timeout`` seconds for an owner that is about to leave.

    Returns:
        The file descriptor; the lock is free again when it and its copies are closed.

    Raises:
        EmbeddedServerError: somebody else still holds it.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + timeout
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            if time.monotonic() >= deadline:
                raise EmbeddedServerError(
                    f"another program runs a server in {path.parent}: stop it, or give another folder"
                )
            time.sleep(0.02)
    except BaseException:
        os.close(lock)
        raise
