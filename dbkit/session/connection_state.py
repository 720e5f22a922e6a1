"""How a driver connection behaves on the client's side, and bringing one back to how it came."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Self

from psycopg2 import extensions as driver

logger = logging.getLogger("dbkit.session.scopes")


@dataclass(frozen=True)
class Manners:
    """What psycopg2 lets a borrower change on a connection, besides what he does on the server."""

    autocommit: bool
    isolation_level: int | None
    readonly: bool | None
    deferrable: bool | None
    cursor_factory: Any

    @classmethod
    def of(cls, connection: driver.connection) -> Self:
        """How it behaves now."""
        return cls(
            connection.autocommit,
            connection.isolation_level,
            connection.readonly,
            connection.deferrable,
            connection.cursor_factory,
        )

    def _give_to(self, connection: driver.connection) -> None:
        if type(self).of(connection) == self:
            return
        connection.autocommit = False  # so that the others are not sent to the server one by one
        settings: Any = connection
        settings.isolation_level = self.isolation_level
        settings.readonly = self.readonly
        settings.deferrable = self.deferrable
        settings.cursor_factory = self.cursor_factory
        connection.autocommit = self.autocommit

    def restore(self, connection: driver.connection) -> bool:
        """Roll back what is open on the connection, and have it behave like this again.

        Returns:
            False where it is of no more use: closed, lost, or not to be brought back.
        """
        if connection.closed:
            return False
        try:
            connection.rollback()
            if connection.get_transaction_status() != driver.TRANSACTION_STATUS_IDLE:
                say(connection, "ROLLBACK")  # autocommit, and a BEGIN of the borrower's
            self._give_to(connection)
        except Exception:
            logger.warning("A connection could not be brought back to how it came; it is discarded.", exc_info=True)
            return False
        return True


def say(connection: driver.connection, command: str) -> None:
    """Send a command that has no parameters and no result."""
    with connection.cursor() as cursor:
        cursor.execute(command)
