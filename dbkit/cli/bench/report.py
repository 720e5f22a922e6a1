"""The measured points for people: a table, a plot as text, a plot as SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log2
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dbkit.cli.plain import plain, seconds_text

if TYPE_CHECKING:
    from dbkit.cli.bench.points import Advice, Point

_BARS: Final = 40
_COLOURS: Final = ("#4477aa", "#228833", "#ccbb44", "#ee6677", "#aa3377")


def render(points: Sequence[Point], advice: Advice, *, target: str, complete: bool) -> Group:
    """All of it, for a terminal.

    Args:
        points: at least one.
        advice: what follows from them.
        target: the server's label.
        complete: nothing was left out because of Ctrl-C.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("max_size", "threads", "borrows/s", "wait mean", "wait p95", "connection out"):
        table.add_column(name, justify="right", no_wrap=True)
    for point in points:
        table.add_row(
            str(point.size),
            str(point.threads),
            f"{point.throughput:,.0f}",
            seconds_text(point.wait_mean),
            seconds_text(point.wait_p95),
            seconds_text(point.service),
        )
    parts: list[Text | Table] = [Text(f"dbkit bench {plain(target)}", style="bold"), table, Text()]
    parts += [plot(points), Text()]
    if not complete:
        parts.append(Text("Stopped early: this is what was measured until then.", style="yellow"))
    parts.append(Text(f"max_size = {advice.max_size}", style="bold green"))
    parts += [Text(f"  {reason}") for reason in advice.reasons]
    return Group(*parts)


def plot(points: Sequence[Point]) -> Text:
    """Throughput by size, at the load at which each size is fastest."""
    best: dict[int, float] = {}
    for point in points:
        best[point.size] = max(best.get(point.size, 0.0), point.throughput)
    most = max(best.values()) or 1.0
    lines = [f"{size:>8} {'█' * max(1, round(_BARS * rate / most))} {rate:,.0f}/s" for size, rate in best.items()]
    return Text("\n".join(["max_size", *lines]), style="cyan")


def svg(points: Sequence[Point], advice: Advice, *, target: str) -> str:
    """Throughput over the pool's size, a line for each number of threads, the advice as a line upright.

    Args:
        points: at least one.
        advice: what follows from them.
        target: the server's label.
    """
    width, height, left, right, top, bottom = 720, 400, 80, 110, 50, 50
    sizes = sorted({point.size for point in points} | {advice.max_size})
    most = max(point.throughput for point in points) or 1.0
    span = log2(sizes[-1] / sizes[0]) or 1.0

    def x(size: int) -> float:
        return left + (width - left - right) * log2(size / sizes[0]) / span

    def y(rate: float) -> float:
        return height - bottom - (height - top - bottom) * rate / most

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="24" font-size="15">Borrows per second by max_size: {escape(plain(target))}</text>',
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = y(most * share)
        parts.append(f'<path d="M{left} {at:.1f}H{width - right}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{most * share:,.0f}</text>')
    for size in sizes:
        parts.append(f'<text x="{x(size):.1f}" y="{height - bottom + 18}" text-anchor="middle">{size}</text>')
    at = x(advice.max_size)
    parts.append(f'<path d="M{at:.1f} {top}V{height - bottom}" stroke="#555" stroke-dasharray="4 3"/>')
    for number, threads in enumerate(sorted({point.threads for point in points})):
        colour = _COLOURS[number % len(_COLOURS)]
        line = sorted((point.size, point.throughput) for point in points if point.threads == threads)
        path = " ".join(f"{x(size):.1f},{y(rate):.1f}" for size, rate in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(size):.1f}" cy="{y(rate):.1f}" r="3" fill="{colour}"/>' for size, rate in line]
        label = f"{threads} thread{'s' if threads > 1 else ''}"
        where = f'x="{width - right + 12}" y="{top + 18 * number}"'
        parts.append(f'<text {where} fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])
