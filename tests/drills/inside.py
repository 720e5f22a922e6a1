"""What the programs of drills 11 to 17 share: a pool by its name, whose process is theirs alone."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, Final

from psycopg2.extensions import parse_dsn

from ..pool.helpers import Admin
from . import closing
from .entrants import NAME, SIZE, Entrant, Ours, PsycopgPool, Queue, make_manager
from .forms import by_form

OURS: Final = "ElasticPool"
ALL: Final = (OURS, "QueuePool", "QueuePool pre_ping", "psycopg_pool")
RUNNING: Final = by_form(short=(OURS,), long=ALL)
"""Each in a process of its own costs seconds; the peers run in the long form."""


def make(name: str, url: str, *, timeout: float, size: int = SIZE, **options: Any) -> Entrant:
    """The pool of this name, on a database.

    Args:
        name: one of ``ALL``.
        url: the database's.
        timeout: seconds a borrower waits.
        size: its connections.
        **options: further ones; ours takes the manager's.
    """
    params = parse_dsn(url) | {"application_name": NAME}
    if name == OURS:
        return Ours(make_manager(params, timeout=timeout, min_size=size, max_size=size, **options))
    if name == "psycopg_pool":
        return PsycopgPool(params, timeout=timeout, size=size, **options)
    return Queue(params, timeout=timeout, pre_ping=name.endswith("pre_ping"), size=size)


def say(**figures: float) -> None:
    """Print figures for the drill to read, by their names with spaces."""
    for name, value in figures.items():
        print(name.replace("_", " "), value, flush=True)


def threads_of_this_process() -> int:
    """How many the system knows. ``threading`` would go on counting some that it did not start, and that logged."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def lost(entrant: Entrant, size: int) -> int:
    """How many of its connections cannot be borrowed any more."""
    gc.collect()
    handles = []
    for _ in range(size):
        try:
            handles.append(entrant.borrow())
        except Exception:
            break
    for handle in handles:
        entrant.give_back(handle)
    return size - len(handles)


def end(entrant: Entrant, url: str) -> None:
    """The closing check, for ours; then its end."""
    if entrant.name == OURS:
        admin = Admin(url)
        closing.check(entrant.pool, execute=admin.rows)  # type: ignore[attr-defined]
        admin.close()
    entrant.close()
