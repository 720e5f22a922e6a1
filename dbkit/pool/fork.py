"""After a fork: the child's pools start empty, and the parent's connections are left alone. Nobody need do anything.

What was inherited is forgotten, not closed: the sockets are the parent's, and a close would end its sessions.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from dbkit.pool.driver import LedgerDriver

_pools: WeakSet[LedgerDriver] = WeakSet()


def survive_forks(pool: LedgerDriver) -> None:
    """Have this pool start empty in every child."""
    _pools.add(pool)


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        inherited = list(pool._ledger.slots)
        pool._start_afresh()
        connect: Any = pool.dispatch.connect
        if hasattr(connect, "_exec_once_mutex"):  # the parent's first connect may have held it
            connect._exec_once_mutex = None
        for slot in inherited:
            slot.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
