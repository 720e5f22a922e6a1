"""Settings as people see them: a label for messages, a table to print. Without secrets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dbkit.core.policy import UNLIMITED, show_size
from dbkit.errors import may_be_shown
from dbkit.settings.secret import MASK


class Row(NamedTuple):
    """A setting in force, safe to show.

    Attributes:
        key: its name.
        value: as Python writes it; ``***`` for a secret, ``-`` where it is left to libpq.
        origin: where it came from.
    """

    key: str
    value: str
    origin: str


def label(*, username: str | None, hosts: str, ports: str, database: str | None, service: str | None) -> str:
    """``user@host:5432/database``, as far as these are set.

    Args:
        username, database, service: as the settings have them.
        hosts: names, addresses or folders, with commas between them; empty for none.
        ports: one for all, or one for each, with commas between them; empty for none.
    """
    names, numbers = hosts.split(","), ports.split(",")
    numbers = numbers * len(names) if len(numbers) == 1 else numbers
    bracketed = [f"[{host}]" if ":" in host and not host.startswith(("/", "@")) else host for host in names]
    server = ",".join(f"{host}:{port}" if port else host for host, port in zip(bracketed, numbers, strict=True))
    text = (f"{username}@" if username else "") + server + (f"/{database}" if database else "")
    if service:
        text = f"service={service}" + (f" {text}" if text else "")
    return "".join(c if c.isprintable() else "?" for c in text) or "the server libpq is set up for"


def shown(key: str, value: object) -> str:
    """A setting's value for people; ``***`` where it is, or looks like, a secret."""
    if not may_be_shown(value):
        return MASK
    return show_size(UNLIMITED) if key == "max_size" and value == UNLIMITED else repr(value)


def table(rows: Sequence[Row], remarks: Iterable[str]) -> str:
    """Three columns, and the remarks below them."""
    rows = [Row("setting", "value", "origin"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for key, value, origin in rows]
    return "\n".join([*lines, *remarks])
