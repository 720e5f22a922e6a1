"""Stand-ins for template strings, which only Python 3.14 has."""

from __future__ import annotations

import types


class Template:
    """A stand-in for ``string.templatelib.Template``: texts and values by turns."""

    def __init__(self, *parts):
        self.strings = parts[::2]
        self.interpolations = tuple(
            value if isinstance(value, types.SimpleNamespace) else interpolation(value) for value in parts[1::2]
        )


def interpolation(value, expression="x", conversion=None, format_spec=""):
    return types.SimpleNamespace(value=value, expression=expression, conversion=conversion, format_spec=format_spec)
