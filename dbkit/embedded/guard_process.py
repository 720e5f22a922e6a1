"""The guard: a small process that stands between a program and its embedded server, and outlives the program.

It is run by file path with nothing but the standard library (``python -I -S guard_process.py SPEC``), so that it is
up within some milliseconds. Its standard input is one end of a socket pair; the program holds the other end:

- requests come as JSON lines and are answered as JSON lines, strictly one after the other;
- the end of that stream means the program is gone, in any way (a normal end, an exception, SIGTERM, SIGKILL):
  the guard then stops the server, removes the temporary folders and ends.

Invariants:

1. Every process the guard starts inherits the write end of a *lifeline* pipe. The read end is at its end only when the
   process and all its descendants (a server's backends included) are gone, so "stopped" means nothing is left.
2. The guard ends no process but those it started.
3. In every case it leaves through ``shut_down``.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

READY_POLL = 0.005  # seconds between looks at postmaster.pid
PATIENCE = ((None, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))  # what to send when, seconds to wait after it


class ProgramGoneError(Exception):
    """The program closed its end, or somebody asked the guard to end."""


def die_with_guard(number: int) -> Callable[[], None] | None:
    """Return what makes a child receive signal ``number`` should the guard itself be killed (Linux only)."""
    if os.uname().sysname != "Linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl

    def ask_the_kernel() -> None:
        prctl(1, number, 0, 0, 0)  # 1 = PR_SET_PDEATHSIG

    return ask_the_kernel


def is_ready(pid_file: str, pid: int) -> bool:
    """Tell whether the server ``pid`` wrote into ``postmaster.pid`` that it takes connections."""
    try:
        lines = Path(pid_file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def forget_shared_memory(pid_file: str) -> None:
    """Remove the System V segment of a server that was killed and will never start again to do it itself."""
    try:
        words = Path(pid_file).read_text(encoding="utf-8", errors="replace").splitlines()[6].split()
        segment = int(words[1])
    except (OSError, IndexError, ValueError):
        return
    import ctypes

    ctypes.CDLL(None).shmctl(segment, 0, None)  # 0 = IPC_RMID on Linux and macOS


class Guard:
    """One server at most, started and stopped on request."""

    def __init__(self, link: socket.socket, remove: list[str], goodbye: int) -> None:
        self.link = link
        self.remove = remove
        self.goodbye = goodbye
        self.child: subprocess.Popen[bytes] | None = None
        self.lifeline: int | None = None
        self.pid_file = ""
        self.acts: dict[str, Callable[..., dict[str, Any]]] = {
            "run": self.run,
            "start": self.start,
            "poll": self.poll,
            "signal": self.send,
        }

    def requests(self) -> Iterator[dict[str, Any]]:
        """Yield the program's requests until it is gone."""
        with self.link.makefile("rb") as lines:
            for line in lines:
                yield json.loads(line)

    def serve(self) -> None:
        """Answer requests until the program is gone."""
        for request in self.requests():
            act = self.acts[request.pop("do")]
            try:
                answer = act(**request)
            except (OSError, subprocess.SubprocessError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            self.link.sendall(json.dumps(answer).encode() + b"\n")

    def spawn(
        self, argv: list[str], cwd: str, env: dict[str, str], account: list[int] | None, log: str
    ) -> subprocess.Popen[bytes]:
        """Start a process on a lifeline of its own, as the account (uid, gid) given."""
        self.forget_child()
        mine, theirs = os.pipe()
        try:
            with open(log, "ab") as output:  # noqa: PTH123 - the shortest way, and the guard should be small
                self.child = subprocess.Popen(
                    argv,
                    cwd=cwd,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs,),
                    user=account[0] if account else None,
                    group=account[1] if account else None,
                    extra_groups=[] if account else None,
                    umask=0o077,
                    preexec_fn=die_with_guard(self.goodbye),  # noqa: PLW1509 - the guard has a single thread
                )
        except BaseException:
            os.close(mine)
            raise
        finally:
            os.close(theirs)
        self.lifeline = mine
        return self.child

    def forget_child(self) -> None:
        """Close the lifeline of a child that is gone."""
        if self.lifeline is not None:
            os.close(self.lifeline)
        self.child = self.lifeline = None

    def wait(self, timeout: float, *, watch_program: bool = True) -> bool:
        """Wait until the child and all its descendants are gone. False when ``timeout`` seconds were not enough."""
        if self.child is None or self.lifeline is None:
            return True
        watched: list[Any] = [self.lifeline, self.link] if watch_program else [self.lifeline]
        readable = select.select(watched, [], [], timeout)[0]
        if self.lifeline in readable:
            self.child.wait()
            return True
        if readable:  # a program that waits for its answer sends nothing, so this is the end of the stream
            raise ProgramGoneError
        return False

    def run(
        self, *, argv: list[str], cwd: str, env: dict[str, str], account: list[int] | None, log: str, timeout: float
    ) -> dict[str, Any]:
        """Run a command to its end. ``exit`` is None when it took longer than ``timeout`` seconds and was ended."""
        child = self.spawn(argv, cwd, env, account, log)
        if not self.wait(timeout):
            child.kill()
            self.wait(PATIENCE[-1][1])
            return {"exit": None}
        return {"exit": child.returncode}

    def start(
        self,
        *,
        argv: list[str],
        cwd: str,
        env: dict[str, str],
        account: list[int] | None,
        log: str,
        pid_file: str,
        timeout: float,
    ) -> dict[str, Any]:
        """Start the server and wait until it takes connections, ends, or ``timeout`` seconds have passed."""
        self.pid_file = pid_file
        child = self.spawn(argv, cwd, env, account, log)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if child.poll() is not None:
                self.wait(PATIENCE[-1][1])
                return {"ready": False, "exit": child.returncode}
            if is_ready(pid_file, child.pid):
                return {"ready": True, "pid": child.pid}
            self.wait(READY_POLL)
        self.end_child()
        return {"ready": False, "exit": None}

    def poll(self) -> dict[str, Any]:
        """Tell whether the server's first process lives."""
        return {"running": self.child is not None and self.child.poll() is None}

    def send(self, number: int, timeout: float) -> dict[str, Any]:
        """Send the server a signal and wait until all of it is gone."""
        if self.child is not None:
            self.child.send_signal(number)  # does nothing when the child has already been waited for
        return {"gone": self.wait(timeout)}

    def end_child(self) -> None:
        """End the child with more and more force."""
        for number, seconds in PATIENCE:
            if self.child is None:
                return
            self.child.send_signal(number or self.goodbye)
            if self.wait(seconds, watch_program=False):
                return

    def shut_down(self) -> None:
        """Stop the server and remove the temporary folders."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.end_child()
        if self.pid_file and any(self.pid_file.startswith(folder + os.sep) for folder in self.remove):
            forget_shared_memory(self.pid_file)
        for folder in self.remove:
            shutil.rmtree(folder, ignore_errors=True)


def end_of_guard(number: int, frame: object) -> None:
    """Treat SIGTERM like the end of the program."""
    raise ProgramGoneError


def main() -> None:
    """Serve the program on standard input; the one argument says what to remove and how to stop (JSON)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end_of_guard)
    spec = json.loads(sys.argv[1])
    guard = Guard(socket.socket(fileno=os.dup(0)), spec["remove"], spec["goodbye"])
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)
    try:
        with contextlib.suppress(ProgramGoneError, ConnectionError):
            guard.serve()
    finally:
        guard.shut_down()


if __name__ == "__main__":
    main()
