"""A pool made by hand, without a dialect: each connection's class tells which driver it is of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dbkit.drivers.base import Driver, Transaction


class ByConnection(Driver):
    """Passes each question on to the driver that the connection's class comes from.

    ``reset="discard"`` and ``require_writer`` need a dialect: a pool must know when it is made what it can promise.

    Args:
        find: finds the driver of a connection.
    """

    hears_interrupts = False  # some may not

    def __init__(self, find: Callable[[Any], Driver]) -> None:
        super().__init__("unknown, as it was made without a dialect")
        self._of = find

    def is_open(self, connection: Any) -> bool:
        return self._of(connection).is_open(connection)

    def is_clean(self, connection: Any) -> bool:
        return self._of(connection).is_clean(connection)

    def transaction(self, connection: Any) -> Transaction:
        return self._of(connection).transaction(connection)

    def descriptor(self, connection: Any) -> int | None:
        return self._of(connection).descriptor(connection)

    def encoding(self, connection: Any) -> str | None:
        return self._of(connection).encoding(connection)

    def state(self, connection: Any) -> object:
        return self._of(connection).state(connection)

    def behaves_as(self, connection: Any, state: Any) -> bool:
        return self._of(connection).behaves_as(connection, state)

    def set_state(self, connection: Any, state: Any) -> None:
        self._of(connection).set_state(connection, state)

    def close_cursors(self, connection: Any) -> bool:
        return self._of(connection).close_cursors(connection)

    def leave_transaction(self, connection: Any) -> None:
        self._of(connection).leave_transaction(connection)

    def cancel(self, connection: Any) -> bool:
        return self._of(connection).cancel(connection)
