"""The structured fields of log lines: what a line says, for programs. ``logging`` puts them on the record.

Fixed names, each with ``dbkit_`` before it, so that they meet no other library's.
"""

from __future__ import annotations

from typing import Any, Final

FIELDS: Final = {
    "event": "what happened: one of `EVENTS`",
    "pool": "the pool's name (`pool_logging_name`), or none",
    "seconds": "how long it took, or has taken so far",
    "failures": "connection attempts that failed since one last succeeded",
    "connections": "how many connections it concerns",
    "thread": "the borrower's name",
}
"""Every field and what it says, without the prefix."""

EVENTS: Final = {
    "open_failed": "a connection attempt failed, and nobody got its error: once an outage",
    "opened_again": "a connection was opened after attempts had failed",
    "leaked": "a connection has been out for longer than `leak_after`",
    "came_back": "a connection reported as leaked came back",
    "no_thread": "no thread can be started for an attempt",
    "observer_failed": "an observer raised an error",
    "not_restored": "a connection could not be put back as it was opened",
    "closed_with_holders": "the pool was closed while connections were out",
}
"""Every event of a pool that is worth a line."""


def fields(
    event: str,
    pool: str | None,
    *,
    seconds: float | None = None,
    failures: int | None = None,
    connections: int | None = None,
    thread: str | None = None,
) -> dict[str, Any]:
    """The ``extra`` of a log line; what is None is left out, but for the pool's name."""
    given = {"seconds": seconds, "failures": failures, "connections": connections, "thread": thread}
    found: dict[str, Any] = {"dbkit_event": event, "dbkit_pool": pool}
    return found | {f"dbkit_{name}": value for name, value in given.items() if value is not None}
