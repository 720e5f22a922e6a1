"""Every row, in the order it is run and shown, and the groups that the command can be given."""

from __future__ import annotations

from benchmarks.measure import Row
from benchmarks.rows import (
    burst,
    checkout,
    copy,
    crowds,
    idle,
    imports,
    on_loop,
    query,
    scale,
    statistics,
    think,
    timeouts,
    watched,
    waves,
)

GROUPS: dict[str, tuple[Row, ...]] = {
    "cost": (checkout.ROW, statistics.ROW, watched.ROW, *scale.ROWS),
    "crowds": crowds.ROWS,
    "think": think.ROWS,
    "growth": (*burst.ROWS, waves.ROW),
    "timeouts": (timeouts.ROW,),
    "query": (query.ROW,),
    "copy": (copy.ROW,),
    "imports": (imports.ROW,),
    "idle": (idle.ROW,),
    "asyncio": on_loop.ROWS,
}

ROWS: tuple[Row, ...] = tuple(row for rows in GROUPS.values() for row in rows)


def chosen(names: list[str]) -> tuple[Row, ...]:
    """The rows of these groups or names, in their own order; all of them where there are no names.

    Raises:
        LookupError: there is no such group or row.
    """
    wanted: set[str] = set()
    for name in names:
        rows = GROUPS.get(name) or tuple(row for row in ROWS if row.name == name)
        if not rows:
            raise LookupError(f"there is no group and no row {name!r}")
        wanted |= {row.name for row in rows}
    return tuple(row for row in ROWS if not names or row.name in wanted)
