"""Locks that know their owner: ``OwnedLock`` of ``base.py`` for threads and for greenlets."""

from __future__ import annotations

import _thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class ThreadLock(_thread.RLock):  # type: ignore[misc]  # it is not final
    """CPython's ``RLock``, not used for re-entrance, but because it knows its owner.

    The owner is set together with the acquisition, in C: no finalizer and no exception can fall in between. The
    standard library's conditions rely on the same method, whose name begins with an underscore. It is used here alone.
    """

    __slots__ = ()

    is_mine = _thread.RLock._is_owned  # type: ignore[attr-defined]  # typeshed does not know it


class GreenLock:
    """For greenlets, which share one thread: CPython's ``RLock`` would take them all for its owner.

    The caller is marked before it acquires and until it has released, so that a finalizer never finds a lock taken by
    its own greenlet but not marked.
    """

    __slots__ = ("_inside", "_lock", "_who")

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._who = _thread.get_ident
        self._inside: set[int] = set()

    def is_mine(self) -> bool:
        """Whether the caller holds the lock, or is about to."""
        return self._who() in self._inside

    def __enter__(self) -> None:
        me = self._who()
        self._inside.add(me)
        try:
            self._lock.acquire()
        except BaseException:  # its greenlet was killed, or its timeout struck, while it waited
            self._inside.discard(me)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        self._inside.discard(self._who())
