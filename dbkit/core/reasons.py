"""Why a connection was closed: one word each, the same in statistics, events and logs."""

from __future__ import annotations

from enum import StrEnum


class CloseReason(StrEnum):
    """Why the pool closed a connection, or stopped counting it."""

    MAX_IDLE = "max_idle"
    """It was surplus to ``min_size`` and lay idle for ``max_idle``."""
    MAX_LIFETIME = "max_lifetime"
    """It reached ``max_lifetime``, less its jitter."""
    DEAD = "dead"
    """A check found no server behind it."""
    INVALIDATED = "invalidated"
    """SQLAlchemy, or the application, declared it or all connections of its generation invalid."""
    DETACHED = "detached"
    """The application took it out of the pool for good (``detach()``). It is not closed, only no longer counted."""
    UNFIT = "unfit"
    """It came back closed, inside a transaction, or could not be cleaned."""
    VANISHED = "vanished"
    """Its holder was interrupted before it could give it back, and nothing refers to it any more."""
    DRAINED = "drained"
    """``drain()`` replaced it by a new one."""
    OUTDATED = "outdated"
    """Its generation ended while it was being opened."""
    RESIZED = "resized"
    """The pool was over its ``max_size`` after ``resize()``."""
    DISPOSED = "disposed"
    """``dispose()``."""
    CLOSED = "closed"
    """``close()``."""
