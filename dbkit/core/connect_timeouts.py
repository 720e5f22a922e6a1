"""How long each address of a server may take to answer, where the user does not say. Pure arithmetic.

A driver tries the addresses of all hosts one after the other, and gives each of them the same whole number of seconds.
A mute first one must not use up a borrower's time, and a slow one must not be given up while there is time. So each
address gets little at first. Only when none of them said anything, each gets its share of what is left.

Invariant: of several addresses, all together never take more than the borrower has, but for the drivers' least time.
"""

from __future__ import annotations

from typing import Final

AT_FIRST: Final = 2
"""Seconds for each of several addresses: a good one behind a mute one is reached within 3 s."""

LEAST: Final = 1
"""Seconds; libpq before 17 and psycopg make 2 of it."""

SILENT: Final = 0.9
"""The share of its time that a round must have taken to count as one in which nobody answered: clocks differ a bit."""


def first_timeout(left: float, addresses: int, most: int) -> int:
    """Seconds for each address, to begin with.

    Args:
        left: seconds the borrower has.
        addresses: how many there are.
        most: seconds that any address may take; a single one may from the start.
    """
    if addresses == 1:
        return most
    return min(most, max(LEAST, min(AT_FIRST, _share(left, addresses, most))))


def longer_timeout(left: float, addresses: int, most: int, *, before: int, took: float) -> int | None:
    """Seconds for each address in another round; None for no other round.

    Args:
        left: seconds the borrower has now.
        addresses: how many there are.
        most: seconds that any address may take.
        before: what each had in the round that failed.
        took: seconds of that round. One that was shorter had an answer: a longer one would only come later to it.
    """
    longer = _share(left, addresses, most)
    if longer <= before or took < SILENT * before * addresses:
        return None
    return longer


def _share(left: float, addresses: int, most: int) -> int:
    return int(min(most, max(0.0, left) / addresses))
