"""Errors of the drop-ins: dbkit's errors that are, at the same time, what the older classes raised."""

from __future__ import annotations

from psycopg2.pool import PoolError

from dbkit.errors import DbkitError
from dbkit.pool.errors import PoolClosedError, PoolTimeoutError


class DropinError(DbkitError, RuntimeError):
    """A drop-in was used in a way it refuses; nothing was changed. A ``RuntimeError``, as in the older classes."""


class NotInitializedError(DropinError, PoolError):
    """There is no pool yet, or none any more."""


class AlreadyInitializedError(DropinError, PoolError):
    """There is a pool already; close it before making another."""


class NotLentError(DropinError, PoolError):
    """The connection is not on loan from this pool, or was given back already. It stays as it is."""


class NoConnectionError(PoolTimeoutError, DropinError, PoolError):
    """No connection could be had in time. The message says who holds them."""


class ClosedError(PoolClosedError, DropinError, PoolError):
    """The pool was closed."""
