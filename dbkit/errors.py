"""The root of every error that dbkit raises of its own accord, and the errors that need no other package.

A refusal of the database is SQLAlchemy's own exception (``IntegrityError``, ``OperationalError``, ...), as users'
``except`` clauses expect. A refusal of dbkit's own is a ``DbkitError``. Where a class of SQLAlchemy's fits, the error
is a subclass of that too: those live with the code that raises them (``pool/errors.py``, ``credentials/errors.py``),
so that this file, and the pure floor that builds on it, imports no SQLAlchemy. ``dbkit`` exports them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_MASKED = ":***"
"""A password in a URL that is masked already."""
_HINTS_AT_SECRET = re.compile(r":(?!//).*@|(passw|pwd|secret|token)\w*\s*=", re.IGNORECASE | re.DOTALL)


class DbkitError(Exception):
    """The root: ``except DbkitError`` catches all that dbkit raises of its own accord."""


def may_be_shown(value: object) -> bool:
    """Whether a setting's value looks harmless. ``user:password@host``, in a URL or not, and ``password=...`` do not,
    whichever setting they were put in: people put them where a host or a number belongs."""
    return _HINTS_AT_SECRET.search(str(value).replace(_MASKED, "")) is None


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the settings.

    Attributes:
        key: the setting's name as dbkit knows it (``port``), or as the user wrote it where dbkit knows none.
        reason: what is wrong and what would be right, as one clause.
        value: the value as given, made safe to show; empty where it is secret, may hold a secret, or there is none.
        origin: where the value came from (``argument``, ``environment variable DB_PORT``, ``.env``, ...).
    """

    key: str
    reason: str
    value: str = ""
    origin: str = "argument"

    def __post_init__(self) -> None:
        if not may_be_shown(self.value):
            object.__setattr__(self, "value", "")

    def __str__(self) -> str:
        shown = f"={self.value}" if self.value else ""
        return f"{self.key}{shown} ({self.origin}): {self.reason}"


class SettingsError(DbkitError, ValueError):
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


class MigrationError(DbkitError):
    """A migration could not run: another holds the lock, no scripts are found, or env.py would migrate elsewhere."""


class ExtraMissingError(DbkitError, ImportError):
    """A method needs a package that is not installed. The message says how to install it.

    Args:
        method: of dbkit, as the user called it.
        package: that it needs.
        extra: of dbkit, which brings it.
    """

    def __init__(self, method: str, package: str, extra: str) -> None:
        self._made_of = (method, package, extra)
        super().__init__(
            f"{method} needs {package}, which is not installed: pip install 'dbkit-postgres[{extra}]'", name=package
        )

    def __reduce__(self) -> tuple[type[ExtraMissingError], tuple[str, str, str]]:
        return type(self), self._made_of


class EmbeddedServerError(DbkitError):
    """An embedded PostgreSQL server could not be found, made, started or stopped. The message says what to do."""


class PatchedTooLateError(DbkitError):
    """gevent or eventlet patched the process after the pool had been made with real threads and locks."""

    def __init__(self) -> None:
        super().__init__(
            "the process was patched by gevent or eventlet after this pool had been made, so a borrower that waits "
            "would block every greenlet: call gevent.monkey.patch_all() (or eventlet.monkey_patch()) before making "
            "the pool or its engine, first thing in the program"
        )
