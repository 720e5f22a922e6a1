"""Every row, in the order it is run and shown."""

from __future__ import annotations

from benchmarks.measure import Row
from benchmarks.rows import burst, checkout, copy, crowds, idle, imports, query, scale, statistics, waves

ROWS: tuple[Row, ...] = (
    checkout.ROW,
    *crowds.ROWS,
    *burst.ROWS,
    waves.ROW,
    *scale.ROWS,
    query.ROW,
    copy.ROW,
    statistics.ROW,
    imports.ROW,
    idle.ROW,
)
