"""The directive ``settings-table``: every setting there is, read from the code when the pages are built.

``rows()`` is plain data, so that a test can compare it with what the settings really take.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from inspect import getdoc
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from dbkit.core.policy import COUNTS, NAMES, OPTIONAL, PoolPolicy
from dbkit.settings import DatabaseSettings
from dbkit.settings.keys import (
    ALIASES,
    CHOICES,
    CREDENTIALS,
    DRIVER,
    FLAGS,
    IDENTITY,
    KEYS,
    MIGRATION_URL,
    NETWORK_TIMEOUT,
    NUMBERS,
    OPTIONS,
    SECRETS,
    SWITCHES,
    VARIABLES,
)
from dbkit.settings.sources import DEFAULT

if TYPE_CHECKING:
    from sphinx.application import Sphinx

GROUPS = {
    "server": (*IDENTITY, DRIVER, MIGRATION_URL, NETWORK_TIMEOUT),
    "login": CREDENTIALS,
    "pool": NAMES,
    "libpq": OPTIONS,
}
"""The tables, and the settings of each. Together they are all."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One setting.

    Attributes:
        key: its name in code, in a URL, in a mapping and in an INI file.
        spellings: its other names there.
        variables: its variables, in the environment and in ``.env``; the plainest first.
        takes: which values it takes.
        default: dbkit's own, for a server over the network; ``libpq's`` where it is left to that.
    """

    key: str
    spellings: tuple[str, ...]
    variables: tuple[str, ...]
    takes: str
    default: str


def rows(keys: tuple[str, ...] = KEYS) -> tuple[Row, ...]:
    """The settings, in the order of ``keys``."""
    return tuple(
        Row(
            key=key,
            spellings=tuple(name for name, meant in ALIASES.items() if meant == key),
            variables=tuple(variable for variable, name in VARIABLES.items() if ALIASES.get(name, name) == key),
            takes=_takes(key),
            default=_default(key),
        )
        for key in keys
    )


def meaning(key: str) -> str:
    """What a number of the pool does, as ``PoolPolicy`` says it; empty for other settings."""
    found = re.search(rf"^ +{key}: (.*?)(?=^ +\w+: |\n\n)", getdoc(PoolPolicy) or "", re.DOTALL | re.MULTILINE)
    text = re.sub(r"\s+", " ", found[1]).strip() if found else ""
    return re.sub(r" Default [\d.]+(; see ``of``)?\.$", "", text)  # it has a column of its own


def _takes(key: str) -> str:
    if key in NAMES:
        unit = "whole number" if key in COUNTS else "seconds"
        return f"{unit}, or ``none``" if key in OPTIONAL else unit
    if key in CHOICES:
        return ", ".join(f"``{word}``" for word in CHOICES[key])
    if key in NUMBERS:
        return NUMBERS[key]
    if key in FLAGS:
        return "0 or 1"
    if key in SWITCHES:
        return "true or false"
    return "text, never shown" if key in SECRETS else "text"


def _default(key: str) -> str:
    if key in NAMES:
        value: Any = getattr(PoolPolicy(), key)
        return "none" if value is None else f"{value:g}"
    if key in SWITCHES:
        return "false"
    if key == DRIVER:
        return CHOICES[DRIVER][0]
    if key == MIGRATION_URL:
        return "none"
    settings = DatabaseSettings.load({"host": "db.example"}, environ={}, env_file=None)
    if settings.origin(key) != DEFAULT:
        return "libpq's"
    return str(settings.options.get(key, getattr(settings, key, None) or "none"))


class SettingsTable(SphinxDirective):
    """``settings-table``, with the name of a group."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The table, as Sphinx's own ``list-table`` would make it."""
        group = self.arguments[0]
        if group not in GROUPS:
            raise self.error(f"there is no group {group!r}; there are {', '.join(GROUPS)}")
        text = _list_table(rows(GROUPS[group]), is_of_pool=group == "pool")
        return self.parse_text_to_nodes(StringList(text, source="settings-table"))


def _list_table(settings: tuple[Row, ...], *, is_of_pool: bool) -> list[str]:
    titles = ("setting", "variable", "takes", "default", *(("what it does",) if is_of_pool else ()))
    lines = [".. list-table::", "   :header-rows: 1", ""]
    lines += _row(titles)
    for row in settings:
        names = [f"``{name}``" for name in (row.key, *row.spellings)]
        variables = [f"``{name}``" for name in row.variables] or ["not read from the environment"]
        cells = [", ".join(names), ", ".join(variables), row.takes, row.default]
        lines += _row((*cells, meaning(row.key)) if is_of_pool else cells)
    return [*lines, ""]


def _row(cells: tuple[str, ...] | list[str]) -> list[str]:
    return [f"   {'* -' if place == 0 else '  -'} {cell}" for place, cell in enumerate(cells)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's way in."""
    app.add_directive("settings-table", SettingsTable)
    return {"version": "1", "parallel_read_safe": True}
