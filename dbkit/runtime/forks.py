"""After a fork: the child's pools start empty, and the parent's connections are left alone. Nobody need do anything.

What was inherited is forgotten, not closed: the sockets are the parent's, and a close would end its sessions.

A fork waits for connects that are under way in other threads, since libpq and its TLS library hold locks meanwhile:
a child that inherited one of them would hang in its first connect (seen once in some 600 forks beside busy connecting).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from dbkit.pool.driver import LedgerDriver

PATIENCE: Final = 1.0
"""Seconds a fork waits at most for connects under way; a server that does not answer must not hold it up for longer."""


class _Connects:
    """How many connects are under way in this process."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.Lock())
        self.under_way = 0
        self.forking = False


_connects = _Connects()


@contextmanager
def connecting() -> Iterator[None]:
    """Around every physical connect: it does not begin while a fork is made, and a fork waits for its end."""
    connects = _connects
    with connects.changed:
        connects.changed.wait_for(lambda: not connects.forking, PATIENCE)
        connects.under_way += 1
    try:
        yield
    finally:
        with connects.changed:
            connects.under_way -= 1
            connects.changed.notify_all()


def _before_fork() -> None:
    _connects.changed.acquire()
    _connects.forking = True
    _connects.changed.wait_for(lambda: _connects.under_way == 0, PATIENCE)


def _after_fork_in_parent() -> None:
    _connects.forking = False
    _connects.changed.notify_all()
    _connects.changed.release()


_pools: WeakSet[LedgerDriver] = WeakSet()


def survive_forks(pool: LedgerDriver) -> None:
    """Have this pool start empty in every child."""
    _pools.add(pool)


def _after_fork_in_child() -> None:
    _connects.__init__()  # type: ignore[misc]
    for pool in list(_pools):
        inherited = list(pool._ledger.slots)
        pool._start_afresh()
        connect: Any = pool.dispatch.connect
        if hasattr(connect, "_exec_once_mutex"):  # the parent's first connect may have held it
            connect._exec_once_mutex = None
        for slot in inherited:
            slot.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
