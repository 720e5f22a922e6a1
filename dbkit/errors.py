"""Every error dbkit raises of its own accord, under one root.

What the database refuses is SQLAlchemy's own exception (``IntegrityError``, ``OperationalError``, ...), as users'
``except`` clauses expect. What dbkit itself refuses is one of these classes, each a subclass of SQLAlchemy's where
one fits, so that code written for ``QueuePool`` keeps catching what it caught.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import exc


class DbkitError(Exception):
    """The root: ``except DbkitError`` catches whatever dbkit raises of its own accord."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the settings.

    Attributes:
        key: the setting's name as dbkit knows it (``port``), or as the user wrote it where dbkit knows none.
        reason: what is wrong and what would be right, as one clause.
        value: the value as given, made safe to show; empty where it is secret or there is none.
        origin: where the value came from (``argument``, ``environment variable DB_PORT``, ``.env``, ...).
    """

    key: str
    reason: str
    value: str = ""
    origin: str = "argument"

    def __str__(self) -> str:
        shown = f"={self.value}" if self.value else ""
        return f"{self.key}{shown} ({self.origin}): {self.reason}"


class SettingsError(DbkitError, exc.ArgumentError, ValueError):
    """The settings cannot be used. Names *all* that is wrong, each with its value and its origin.

    Attributes:
        faults: one ``Fault`` for each thing that is wrong.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        if len(self.faults) == 1:
            message = f"bad setting: {self.faults[0]}"
        else:
            message = f"{len(self.faults)} bad settings:" + "".join(f"\n  - {fault}" for fault in self.faults)
        super().__init__(message)

    def __reduce__(self) -> tuple[type[SettingsError], tuple[tuple[Fault, ...]]]:
        return type(self), (self.faults,)


class PoolTimeoutError(DbkitError, exc.TimeoutError):
    """No connection could be had within ``timeout`` seconds. The message says who holds them."""


class LineFullError(DbkitError, exc.TimeoutError):
    """``max_waiting`` borrowers already stand in line, so this one was refused at once."""


class PoolClosedError(DbkitError, exc.InvalidRequestError):
    """The pool (or its manager) was closed for good; nothing can be borrowed from it any more."""


class CredentialError(DbkitError, exc.OperationalError):
    """The password or token to log in with could not be had, so no connection could be opened. Its cause says why.

    Attributes:
        orig: what the provider raised, without its traceback, whose frames may hold secrets; None where it raised
            nothing.
    """

    code = None  # type: ignore[assignment]  # of SQLAlchemy's pages on errors, none is about this

    def __init__(self, message: str, orig: BaseException | None = None) -> None:
        exc.StatementError.__init__(self, message, None, None, orig)
        self.connection_invalidated = False

    def __reduce__(self) -> tuple[type[CredentialError], tuple[str, BaseException | None]]:
        return type(self), (str(self.args[0]), self.orig)


class MigrationError(DbkitError):
    """A migration could not run: another process held the lock for too long, or nothing tells where the scripts are."""


class EmbeddedServerError(DbkitError):
    """An embedded PostgreSQL server could not be found, made, started or stopped. The message says what to do."""
