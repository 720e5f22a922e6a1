"""What the tests of both kinds of drivers check of a change that a borrower makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dbkit.drivers.base import Driver


def check_taken_back(driver: Driver, connection: Any, change: Callable[[Any], None]) -> None:
    """The change of the connection is seen, and taken back."""
    before = driver.state(connection)
    assert driver.behaves_as(connection, before)
    assert driver.is_untouched(connection, before)
    change(connection)
    assert not driver.behaves_as(connection, before)
    assert not driver.is_untouched(connection, before)
    driver.set_state(connection, before)
    assert driver.is_clean(connection)
    assert driver.behaves_as(connection, before)
    assert driver.state(connection) == before
