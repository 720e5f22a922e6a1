"""Refusals of the pool, as SQLAlchemy's users expect them: code written for ``QueuePool`` catches what it caught."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import exc

from dbkit.core.deadlines import TimeSpent
from dbkit.core.types import Refusal, Refused
from dbkit.errors import DbkitError, SettingsError


class PoolTimeoutError(DbkitError, exc.TimeoutError):
    """No connection could be had within ``timeout`` seconds. The message says who holds them."""


class DeadlineExceeded(DbkitError, exc.TimeoutError):  # noqa: N818 - named as in gRPC and Go
    """The time of ``with db.deadline(seconds)`` is over. The message says where it went.

    Attributes:
        seconds: as the deadline was set.
        spent: where the time went: ``waiting``, ``connecting``, ``statements`` and ``elsewhere``, in seconds.
    """

    def __init__(self, message: str, *, seconds: float, spent: TimeSpent) -> None:
        super().__init__(message)
        self.seconds = seconds
        self.spent = spent

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), seconds=self.seconds, spent=self.spent), (self.args[0],)


class LineFullError(DbkitError, exc.TimeoutError):
    """``max_waiting`` borrowers already stand in line, so this one was refused at once."""


class PoolClosedError(DbkitError, exc.InvalidRequestError):
    """The pool (or its manager) was closed for good; nothing can be borrowed from it any more."""


class TwoLoopsError(DbkitError, exc.InvalidRequestError):
    """A pool was used from a second event loop, while the first one, which has its connections, is not closed."""


class ConnectCancelledError(DbkitError, exc.InvalidRequestError):
    """The pool's own task was cancelled in which a connection was opened: all tasks of the loop were, perhaps."""


class PoolSettingsError(SettingsError, exc.ArgumentError):
    """An argument of a pool cannot be used. A ``SettingsError`` that is SQLAlchemy's ``ArgumentError`` too."""


def as_sqlalchemy_error(error: BaseException) -> BaseException:
    """The ledger's refusal, as the class that SQLAlchemy's users catch; any other error as it is."""
    if not isinstance(error, Refused):
        return error
    kind = LineFullError if error.refusal is Refusal.LINE_FULL else PoolClosedError
    return kind(str(error))
