"""The driver's placeholders in a text that binds a sequence of values: is there one for each? Pure."""

from __future__ import annotations

import re
from itertools import count


def placeholder_fault(query: str, values: int, letters: str) -> str | None:
    """Tell what is wrong with the placeholders of a text that binds a sequence; None if the driver can fill them all.

    Args:
        query: the text.
        values: how many values there are for them.
        letters: what may follow a percent sign in a placeholder (``s``).
    """
    signs = re.findall("%(.?)", query, re.DOTALL)
    odd = next((sign for sign in signs if not sign or sign not in letters + "%"), None)
    doubled = "write %% where a percent sign is meant"
    if odd is not None:
        return f"{'%' + odd!r} is no placeholder: with a sequence of values %s is one; {doubled}"
    expected = sum(sign != "%" for sign in signs)
    if expected != values:
        return f"placeholders in the text: {expected}, values given: {values}; {doubled}"
    return None


def for_driver(query: str, paramstyle: str) -> str:
    """A text with ``%s``, as a driver with these placeholders takes it: asyncpg counts them, ``$1``, ``$2``.

    A text that has ``$1`` itself stays as it is.
    """
    if paramstyle != "numeric_dollar" or re.search(r"\$1\b", query):
        return query
    numbers = count(1)
    return re.sub("%([s%])", lambda sign: "%" if sign[1] == "%" else f"${next(numbers)}", query)
