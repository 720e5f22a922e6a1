"""Settings as people see them: a label for messages, a table to print. Without secrets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


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


def table(rows: Sequence[tuple[str, str, str]], remarks: Iterable[str]) -> str:
    """Three columns, and the remarks below them."""
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for key, value, origin in rows]
    return "\n".join([*lines, *remarks])
