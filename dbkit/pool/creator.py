"""A creator that tells the pool more than a plain function can."""

from __future__ import annotations

from typing import Any


class Creator:
    """Opens one DB-API connection when called. Inherit to tell the pool what an attempt waits for.

    A pool that is given a plain function runs all of it as one connection attempt, which a fork waits for (see
    ``runtime/forks.py``). A ``Creator`` marks the driver's own connect by itself, with ``connecting()``: fetching a
    token or pausing before a retry is no reason to hold up a fork.
    """

    __slots__ = ()

    def __call__(self) -> Any:
        """Open a connection.

        Raises:
            any error of the driver.
        """
        raise NotImplementedError

    def pending(self) -> str | None:
        """Tell what attempts under way wait for, if it is not the server: one clause for a timeout's message."""
        return None
