"""Errors of the session layer, as SQLAlchemy's users expect them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import exc

from dbkit.errors import DbkitError


class ResultUnreadableError(DbkitError, exc.DataError):
    """The statement was executed and committed; only its answer could not be read. Sending it again repeats its work.

    A date beyond the year 9999 is one that Python cannot hold; a typecaster of yours may raise. ``orig`` and
    ``__cause__`` are what was raised, ``statement`` and ``params`` are what was sent. See
    ``docs/decisions/unreadable-answers.md`` for why the answer is not read before the commit.
    """

    code = None  # type: ignore[assignment]  # SQLAlchemy's page about its own class would mislead here

    def __init__(
        self,
        statement: str | None,
        params: Mapping[str, Any] | Sequence[Any] | None,
        orig: BaseException,
        hide_parameters: bool = False,
        connection_invalidated: bool = False,
        code: str | None = None,
        ismulti: bool | None = None,
    ) -> None:
        super().__init__(statement, params, orig, hide_parameters, connection_invalidated, code, ismulti)
        self.args = (
            "The statement was executed and committed; only its answer could not be read: "
            f"{self.args[0]}. Do not send a statement that writes again: its work is done. "
            "Cast the value in SQL (until::text), or leave it out of the answer.",
        )


class CommitOutcomeUnknown(DbkitError, exc.OperationalError):  # noqa: N818 - it is a state of affairs
    """The connection was lost after ``COMMIT`` had been sent: nobody knows whether the server carried it out.

    To run the work again might do it twice; to leave it might lose it. Look in the database, for a key that the work
    wrote, say; ``run_in_transaction(..., is_committed=)`` takes such a check. The driver's error is ``orig``.
    """

    def __init__(self, statement: str | None, params: Any, orig: BaseException, *more: Any, **options: Any) -> None:
        super().__init__(statement, params, orig, *more, **options)
        self.connection_invalidated = True
        self.add_detail(
            "The connection was lost at COMMIT, and nobody knows whether it took effect: look in the database before "
            "the work is done again"
        )
