"""Forks: what starts afresh in a child registers here, and a fork waits for connection attempts. Users do nothing.

In the child, callbacks run in the order of their registration: first those of modules, then those of objects. So the
runtime is fresh before the pools, and pools before what is built on them. One that fails is logged, and stops no other.

**The gate.** libpq and its TLS library hold locks while they connect. A child that inherited one of them would hang in
its first connection attempt (seen once in some 600 forks beside busy connecting). So a fork waits for the attempts
under way in other threads, and no attempt begins while a fork is made. Both wait for a bounded time only. Invariants:

1. Who attempts or forks holds a lock of its own and has put it where the other side looks. An attempt looks for forks
   after it put its lock, a fork looks for attempts after it put its own: at least one of them sees the other.
2. A thread that waits in vain removes the lock. So an attempt that hangs, and all that an exception from outside left,
   holds up one fork or one attempt, once.

**Threads that end.** The TLS library cleans up after a thread that connected when that ends, under a lock of its own,
and beyond Python's reach. A child that inherited the lock hung in its first attempt (once in some 500 forks, on a busy
machine). So a job's thread gives its number before it ends, and a fork waits until the system knows it no more.
"""

from __future__ import annotations

import _thread
import logging
import os
from collections import deque
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


logger = logging.getLogger("dbkit.pool")

T = TypeVar("T")

PATIENCE: Final = 1.0
"""Seconds a fork waits at most for attempts under way; a server that does not answer must not hold it up for longer."""

MOMENT: Final = 0.0005
"""Seconds between two looks at a thread that ends, which takes it less, but on a machine that is busy."""

_of_modules: list[Callable[[], None]] = []
_of_objects: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()


def in_child(callback: Callable[[], None]) -> None:
    """Call this in every forked child, before what ``start_afresh`` registers. For what a module keeps."""
    _of_modules.append(callback)


def start_afresh(owner: T, callback: Callable[[T], None]) -> None:
    """Call ``callback(owner)`` in every forked child, for as long as the owner lives.

    Args:
        owner: held weakly; must be hashable by identity. A second registration replaces its first.
        callback: must not hold the owner: a function or a method of the class, not a bound method.
    """
    _of_objects[owner] = callback


class _Gate:
    """Who is about to connect or to fork in this process.

    Made of dictionaries, which are changed by single steps of C code, and read from copies. There is no lock that a
    finalizer could find taken, or that was made before gevent patched the process.
    """

    def __init__(self) -> None:
        self.attempts: dict[_thread.LockType, int] = {}
        """A lock held by each attempt under way, and its thread."""
        self.forks: dict[int, _thread.LockType] = {}
        """A lock held for each fork under way, by thread."""
        self.ending: deque[int] = deque(maxlen=256)
        """The system's numbers of threads that end, or have ended."""


_gate = _Gate()


@contextmanager
def connecting() -> Iterator[None]:
    """Around the driver's own connection attempt: it does not begin while a fork is made, and a fork waits for its end.

    Keep it short: no token fetch, and no sleep before another attempt.
    """
    gate, me, attempt = _gate, _thread.get_ident(), _thread.allocate_lock()
    deadline = monotonic() + 2 * PATIENCE  # a fork may itself wait that long once
    begins = False
    while not begins:
        with attempt:  # no "return" in here: its line would stand outside of both blocks
            try:
                gate.attempts[attempt] = me
                forks = gate.forks.copy()
                begins = not forks or monotonic() >= deadline
                if begins:
                    yield
            finally:
                gate.attempts.pop(attempt, None)
        for thread, fork in forks.items():
            if not _wait_for(fork, deadline - monotonic()):
                gate.forks.pop(thread, None)  # left behind, or too slow: nobody waits for it again


def _before_fork() -> None:
    gate, me, fork = _gate, _thread.get_ident(), _thread.allocate_lock()
    fork.acquire()
    gate.forks[me] = fork
    deadline = monotonic() + PATIENCE
    for attempt, thread in gate.attempts.copy().items():
        if thread == me:  # this thread forks in the midst of its attempt: it would wait for itself
            continue
        if not _wait_for(attempt, deadline - monotonic()):
            gate.attempts.pop(attempt, None)  # left behind, or hung: no later fork waits for it again

    for number in gate.ending.copy():
        while _is_there(number) and monotonic() < deadline:
            sleep(MOMENT)
        with suppress(ValueError):  # another thread forks, too
            gate.ending.remove(number)


def thread_ends() -> None:
    """Say that this thread of the system's is about to end. A fork waits for that."""
    _gate.ending.append(_thread.get_native_id())


def _is_there(number: int) -> bool:
    return Path(f"/proc/self/task/{number}").exists()  # not everywhere: there nobody can tell


def _after_fork_in_parent() -> None:
    fork = _gate.forks.pop(_thread.get_ident(), None)
    if fork is not None:
        fork.release()


def _after_fork_in_child() -> None:
    global _gate  # noqa: PLW0603 - the threads that attempted and forked are not in this process
    _gate = _Gate()
    for callback in _of_modules:
        _call(callback)
    for owner, renew in list(_of_objects.items()):
        _call(renew, owner)


def _wait_for(lock: _thread.LockType, seconds: float) -> bool:
    """Wait until a lock is free. False if it is not within so many seconds."""
    free = lock.acquire(True, seconds) if seconds > 0 else lock.acquire(False)
    if free:
        lock.release()
    return free


def _call(callback: Callable[..., None], *arguments: object) -> None:
    try:
        callback(*arguments)
    except BaseException:  # whatever it is: Python ignores what an at-fork handler raises, and the others must run
        logger.exception("after a fork, %r failed in the child", callback)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
