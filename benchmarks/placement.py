"""On which processors client and server run, where that would otherwise decide the figure.

A server process on its client's processor answers a small statement two or three times as late or as early as one on
another, and the system moves them about as it likes. On one processor all of them take turns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2


@contextmanager
def on_one_processor(dsn: str) -> Iterator[None]:
    """Keep this thread, those it starts, and the server with all its processes, on one processor for the block.

    Does nothing where the system has no way to say so. A server's process that starts meanwhile has it from its parent.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    one = {min(os.sched_getaffinity(0))}
    before = {process: os.sched_getaffinity(process) for process in [0, *_server(dsn)]}
    try:
        for process in before:
            os.sched_setaffinity(process, one)
        yield
    finally:
        wide = before[0]
        for process in {*before, *_server(dsn)}:
            with suppress(ProcessLookupError):
                os.sched_setaffinity(process, before.get(process, wide))


def _server(dsn: str) -> list[int]:
    """The server's processes, its parent first."""
    connection = psycopg2.connect(dsn)
    try:
        parent = _parent(connection.info.backend_pid)
    finally:
        connection.close()
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [parent, *(number for number in numbers if number != os.getpid() and _parent(number) == parent)]


def _parent(process: int) -> int:
    """The number of a process's parent; 0 if it has ended."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rpartition(")")[2].split()[1])
