"""The command lines of ``initdb`` and ``postgres``, their environment and settings, and the port. Starts nothing."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from dbkit.embedded.binaries import Binaries
from dbkit.errors import EmbeddedServerError

LOOPBACK = "127.0.0.1"
Setting = str | int | float | bool

FAST = {  # for clusters that are thrown away: what a crash of the machine would lose does not matter
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "dynamic_shared_memory_type": "mmap",  # goes with the folder; /dev/shm is small in containers and would keep it
}
PASSED_ON = frozenset({"PATH", "HOME", "TMPDIR"})  # and how libraries are found
OURS = {
    "port": "port=",
    "listen_addresses": "tcp=",
    "unix_socket_directories": "unix_socket=",
    "data_directory": "folder=",
    "external_pid_file": "the server's pid property",
}


def environment() -> dict[str, str]:
    """Return the environment for PostgreSQL's programs: plain C locale, UTC, and nothing of ours that may be secret."""
    kept = {name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(("LD_", "DYLD_"))}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C", "TZ": "UTC"}


def check_settings(settings: Mapping[str, Setting] | None) -> dict[str, str]:
    """Return the server settings as text.

    Raises:
        EmbeddedServerError: a name that cannot be a setting, or one that another argument decides.
    """
    checked = {}
    for name, value in (settings or {}).items():
        if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
            raise EmbeddedServerError(f"settings: {name!r} is not the name of a server setting")
        if name.lower() in OURS:
            raise EmbeddedServerError(f"settings: {name} is decided by the server itself; see {OURS[name.lower()]}")
        checked[name] = ("off", "on")[value] if isinstance(value, bool) else str(value)
    return checked


def initdb_command(binaries: Binaries, place: str, *, user: str, password_file: Path, durable: bool) -> list[str]:
    """Return the command that makes a cluster at ``place``: UTF-8, sorted by code point, SCRAM everywhere."""
    command = [
        binaries.program("initdb"),
        f"--pgdata={place}",
        f"--username={user}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
    ]
    if binaries.major >= 17:  # the same everywhere, and upper() and lower() know all letters
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    if not durable:
        command.append("--no-sync")
    return command


def server_command(
    binaries: Binaries,
    place: str,
    *,
    port: int,
    tcp: bool,
    socket_folder: Path | None,
    settings: Mapping[str, str],
    durable: bool,
) -> list[str]:
    """Return the command that runs the server on the cluster at ``place``. The caller's settings come last."""
    chosen = {
        "port": str(port),
        "listen_addresses": LOOPBACK if tcp else "",
        "unix_socket_directories": str(socket_folder or ""),
        "password_encryption": "scram-sha-256",
        **({} if durable else FAST),
        **settings,
    }
    command = [binaries.program("postgres"), "-D", place]
    for name, value in chosen.items():
        command += ["-c", f"{name}={value}"]
    return command


def reserve_port(port: int | None) -> tuple[int, socket.socket | None]:
    """Choose a loopback port; return it, and the socket that keeps others away from it where the system allows that.

    On Linux a socket that is bound but does not listen keeps the port from being given to anybody who asks for a free
    one, while a server that asks for this very port still gets it. So the port stays ours while the server is down.

    Raises:
        EmbeddedServerError: the port asked for is taken, or cannot be had.
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((LOOPBACK, port or 0))
        number: int = holder.getsockname()[1]
    except (OSError, OverflowError) as error:
        holder.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "it is taken by another program" if taken else str(error)
        raise EmbeddedServerError(f"port={port}: {why}. Leave port out to get a free one") from error
    if os.uname().sysname == "Linux":
        return number, holder
    holder.close()
    return number, None
