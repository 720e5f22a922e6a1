"""The error of a login that has no password or token."""

from __future__ import annotations

from sqlalchemy import exc

from dbkit.errors import DbkitError


class CredentialError(DbkitError, exc.OperationalError):
    """There was no password or token to log in with, so no connection could be opened. Its cause says why.

    Attributes:
        orig: the error that the provider raised, without its traceback, whose frames may hold secrets; None where it
            raised nothing.
    """

    code = None  # type: ignore[assignment]  # of SQLAlchemy's pages on errors, none is about this

    def __init__(self, message: str, orig: BaseException | None = None) -> None:
        exc.StatementError.__init__(self, message, None, None, orig)
        self.connection_invalidated = False

    def __reduce__(self) -> tuple[type[CredentialError], tuple[str, BaseException | None]]:
        return type(self), (str(self.args[0]), self.orig)
