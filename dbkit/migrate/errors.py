"""Errors of migrations, beyond ``MigrationError`` itself."""

from __future__ import annotations

from dbkit.errors import MigrationError


class RevisionFailedError(MigrationError):
    """A revision raised, or the database refused one of its statements; the error it met is the ``__cause__``.

    Attributes:
        revision: the revision that failed; None where several were committed together and the commit failed.
        undone: whether the database is as it was before the command.
    """

    def __init__(self, message: str, revision: str | None = None, *, undone: bool = True) -> None:
        super().__init__(message)
        self.revision = revision
        self.undone = undone

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (str(self), self.revision, self.undone)


class PoolerError(MigrationError):
    """A migration cannot run over this connection, since a pooler such as PgBouncer stands between.

    ``DB_MIGRATION_URL`` names the server itself, for migrations alone.
    """


def _rebuilt(message: str, revision: str | None, undone: bool) -> RevisionFailedError:
    return RevisionFailedError(message, revision, undone=undone)
