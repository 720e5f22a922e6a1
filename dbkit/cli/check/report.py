"""The doctor's report: for people (rich), and as JSON whose shape scripts may rely on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dbkit.cli.check.findings import Mark
from dbkit.cli.plain import plain, seconds_text
from dbkit.core.stats import Histogram

if TYPE_CHECKING:
    from dbkit.cli.check.facts import Facts
    from dbkit.cli.check.findings import Finding

FORMAT: Final = 1
"""The version of the JSON's shape. Names are only ever added within one."""

SIGNS: Final = {
    Mark.OK: ("✓", "green"),
    Mark.NOTE: ("i", "cyan"),
    Mark.WARNING: ("!", "yellow"),
    Mark.PROBLEM: ("✗", "bold red"),
}
BARS: Final = 30
"""Columns of the longest bar."""


def as_json(facts: Facts | None, findings: Sequence[Finding], *, code: int) -> dict[str, Any]:
    """The report for scripts.

    Args:
        facts: all of them; None where the settings were too wrong to try.
        findings: what the judges said.
        code: the exit code.

    Returns:
        ``format`` (1), ``fine``, ``target``, ``findings`` (``check``, ``mark``, ``says``, ``remedy``), ``settings``
        (``name``, ``value``, ``origin``) and ``round_trip`` (``count``, ``median_ms``, ``p95_ms``; null if unknown).
    """
    times = facts.round_trips if facts is not None else ()
    enough = len(times) > 1
    return {
        "format": FORMAT,
        "fine": code == 0,
        "target": facts.settings.target if facts is not None else None,
        "findings": [
            {"check": each.check, "mark": each.mark.value, "says": each.says, "remedy": each.remedy}
            for each in findings
        ],
        "settings": [
            {"name": row.key, "value": row.value, "origin": row.origin}
            for row in (facts.settings.rows if facts is not None else ())
        ],
        "round_trip": {
            "count": len(times),
            "median_ms": round(median(times) * 1000, 3) if enough else None,
            "p95_ms": round(quantiles(times, n=20)[-1] * 1000, 3) if enough else None,
        },
    }


def render(facts: Facts | None, findings: Sequence[Finding]) -> RenderableType:
    """The report for people."""
    return Group(*_parts(facts, findings))


def _parts(facts: Facts | None, findings: Sequence[Finding]) -> Iterator[RenderableType]:
    if facts is not None:
        yield Text(f"dbkit check {facts.settings.target}", style="bold")
        yield _settings(facts)
    table = Table.grid(padding=(0, 1))
    for width in (1, 12):
        table.add_column(min_width=width, no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for each in findings:
        sign, style = SIGNS[each.mark]
        says = Text("\n".join(plain(line) for line in each.says.splitlines()))
        if each.remedy:
            says.append("\n→ " + plain(each.remedy), style="dim" if each.mark is Mark.NOTE else style)
        table.add_row(Text(sign, style=style), Text(each.check, style="bold"), says)
    yield table
    if facts is not None and facts.round_trips:
        yield Padding(histogram(facts.round_trips), (0, 0, 0, 15))
    yield Text(summary(findings), style="bold")


def _settings(facts: Facts) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    for row in facts.settings.rows:
        given = row.origin not in ("default", "libpq")
        table.add_row(*(Text(plain(cell), style="" if given else "dim") for cell in ("  " + row.key, *row[1:])))
    return table


def histogram(times: Sequence[float]) -> Text:
    """Bars, one for each bucket; a bucket ends at twice the time of the one before it."""
    counted = Histogram()
    for seconds in times:
        counted.add(seconds)
    most = max(count for _, count in counted.buckets)
    lines = [
        f"≤ {seconds_text(bound):>6} {'█' * max(1, round(BARS * count / most))} {count}"
        for bound, count in counted.buckets
    ]
    return Text("\n".join(lines), style="cyan")


def summary(findings: Sequence[Finding]) -> str:
    """The last line."""
    problems = sum(each.mark is Mark.PROBLEM for each in findings)
    warnings = sum(each.mark is Mark.WARNING for each in findings)
    if not problems and not warnings:
        return "All is well."
    counted = ((problems, "problem"), (warnings, "warning"))
    return ", ".join(f"{count} {word}{'s' if count > 1 else ''}" for count, word in counted if count) + "."
