"""What the session layer raises, as SQLAlchemy's users expect it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import exc

from dbkit.errors import DbkitError


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
