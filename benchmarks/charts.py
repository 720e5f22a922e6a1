"""The pictures, as plain SVG: how long borrowers wait, who gets how much, and what callers see during a restart.

The background is left alone and every colour is of middling brightness, so that they read on light and on dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from benchmarks.crowd import SHARES, WAITS
from benchmarks.figures import NINES, median, median_curve
from benchmarks.report import how_often, number
from benchmarks.results import RowResults

INK = "#7d858f"
COLOURS = ("#e0632a", "#3d86d6", "#8f73d0", "#2f9e73", "#b98b27", "#c65b8d", "#6f8a96")
WIDTH = 840
FONT = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"

QUIETEST = 1e-6
"""Seconds: shorter waits are drawn as this long."""


def draw(crowd: RowResults) -> dict[str, str]:
    """Both charts, by file name, from the row that has the crowd. Every point is the median over the runs."""
    title = f"{crowd.title}; no time between two borrows"
    shapes = [run.shapes for run in crowd.runs]
    curves = {case: median_curve([drawn[case][WAITS] for drawn in shapes]) for case in crowd.cases}
    shares = {
        case: [median(ranked) for ranked in zip(*(drawn[case][SHARES] for drawn in shapes), strict=True)]
        for case in crowd.cases
    }
    index = {case: crowd.spread(case, "fairness").median for case in crowd.cases}
    how = f"medians of {how_often(crowd)}"
    return {
        "waiting-times.svg": waiting_times(curves, title, how),
        "fairness.svg": fairness(shares, index, title),
    }


# ---- the two charts


def waiting_times(waits: Mapping[str, Sequence[float]], title: str, how: str) -> str:
    """One line for each pool: the wait (up, logarithmic) that a share of all borrows (right) stayed below.

    The right side is stretched: each mark has ten times fewer borrows beyond it.

    Args:
        waits: a curve for each pool, see ``figures.curve``; in seconds.
        title: the work.
        how: how it was measured.
    """
    left, right, top, bottom, height = 70.0, 208.0, 76.0, 52.0, 440
    curves = {case: [(step * NINES, wait) for step, wait in enumerate(points)] for case, points in waits.items()}
    nines = max(curve[-1][0] for curve in curves.values())
    longest = max(curve[-1][1] for curve in curves.values())
    low, high = math.log10(QUIETEST), math.ceil(math.log10(longest) * 2) / 2

    def across(nine: float) -> float:
        return left + nine / nines * (WIDTH - left - right)

    def up(seconds: float) -> float:
        return height - bottom - (math.log10(max(seconds, QUIETEST)) - low) / (high - low) * (height - top - bottom)

    parts = [_text(left, 26, "How long a borrower waits", size=17, bold=True), _text(left, 48, title)]
    for exponent in range(math.ceil(low), math.floor(high) + 1):
        y = up(10.0**exponent)
        parts += [_line(left, y, WIDTH - right, y), _text(left - 8, y + 4, _round(10.0**exponent), anchor="end")]
    for share, nine in _marks(nines):
        x = across(nine)
        parts += [_line(x, top, x, height - bottom), _text(x, height - bottom + 18, share, anchor="middle")]
    parts.append(
        _text((left + WIDTH - right) / 2, height - 10, "of all borrows waited no longer than this", anchor="middle")
    )
    ends = {case: up(curve[-1][1]) for case, curve in curves.items()}
    labels = _apart(ends, 17.0)
    for (case, curve), colour in zip(curves.items(), COLOURS, strict=False):
        points = " ".join(f"{across(nine):.1f},{up(wait):.1f}" for nine, wait in curve)
        end_x = across(curve[-1][0])
        parts.append(f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='2.2'/>")
        parts.append(f"<circle cx='{end_x:.1f}' cy='{ends[case]:.1f}' r='3.5' fill='{colour}'/>")
        label = f"{case}: {number(curve[-1][1], 'seconds')}"
        parts.append(_text(WIDTH - right + 12, labels[case] + 4, label, colour=colour, bold=case == next(iter(curves))))
    parts.append(_text(WIDTH - right + 12, top - 14, f"longest wait, {how}", size=11))
    spoken = "; ".join(f"{case}: longest {number(curve[-1][1], 'seconds')}" for case, curve in curves.items())
    return _svg(height, f"Waiting times, {title}. {spoken}", parts)


def fairness(shares: Mapping[str, Sequence[float]], index: Mapping[str, float], title: str) -> str:
    """A panel for each pool: one bar for each thread, the busiest first, in multiples of a fair share.

    Args:
        shares: of each pool's threads.
        index: each pool's Jain index.
        title: the work.
    """
    left, panel, gap, top = 70.0, 74.0, 38.0, 104.0
    height = round(top + len(shares) * (panel + gap) + 14)
    most = max(max(values) for values in shares.values())
    full = WIDTH - left - 16
    parts = [
        _text(left, 26, "Who gets the connections", size=17, bold=True),
        _text(left, 48, title),
        _text(left, 66, "Work done by each thread, the busiest first; the line is a fair share", size=11),
    ]
    for place, ((case, values), colour) in enumerate(zip(shares.items(), COLOURS, strict=False)):
        floor = top + place * (panel + gap) + panel
        pitch = full / len(values)
        parts.append(_text(left, floor - panel - 8, case, colour=colour, bold=True))
        parts.append(_text(left + full, floor - panel - 8, f"Jain's index {index[case]:.2f} (1 is fair)", anchor="end"))
        for rank, share in enumerate(values):
            tall = share / most * panel
            parts.append(
                f"<rect x='{left + rank * pitch:.1f}' y='{floor - tall:.1f}' width='{pitch * 0.78:.1f}' "
                f"height='{tall:.1f}' fill='{colour}'/>"
            )
        fair = floor - panel / most
        parts += [_line(left, floor, left + full, floor), _line(left, fair, left + full, fair, dashed=True)]
        parts.append(_text(left - 8, fair + 4, "1 ×", anchor="end", size=11))
    spoken = "; ".join(f"{case}: {index[case]:.2f}" for case in shares)
    return _svg(height, f"Fairness, {title}. Jain's index: {spoken}", parts)


def errors_over_time(errors: Mapping[str, Sequence[float]], title: str, *, step: float = 0.1) -> str:
    """A panel for each pool: how many errors its callers saw in each step of time. The panels have one scale.

    Args:
        errors: a number for each step, by pool.
        title: what was done.
        step: seconds.
    """
    left, panel, gap, top = 70.0, 74.0, 38.0, 104.0
    height = round(top + len(errors) * (panel + gap) + 24)
    most = max(1.0, *(max(values) for values in errors.values()))
    full = WIDTH - left - 16
    parts = [
        _text(left, 26, "Errors that callers see while the server restarts", size=17, bold=True),
        _text(left, 48, title),
        _text(left, 66, f"Errors in each {step:g} s; seconds since the load began to be watched", size=11),
    ]
    for place, ((case, values), colour) in enumerate(zip(errors.items(), COLOURS, strict=False)):
        floor = top + place * (panel + gap) + panel
        pitch = full / len(values)
        parts.append(_text(left, floor - panel - 8, case, colour=colour, bold=True))
        parts.append(_text(left + full, floor - panel - 8, f"{sum(values):,.0f} errors in all", anchor="end"))
        for number_of_step, count in enumerate(values):
            tall = max(1.5, count / most * panel) if count else 0.0
            if tall:
                parts.append(
                    f"<rect x='{left + number_of_step * pitch:.1f}' y='{floor - tall:.1f}' "
                    f"width='{pitch * 0.78:.1f}' height='{tall:.1f}' fill='{colour}'/>"
                )
        parts += [_line(left, floor, left + full, floor), _line(left, floor - panel, left + full, floor - panel)]
        parts += [
            _text(left - 8, floor + 4, "0", anchor="end", size=11),
            _text(left - 8, floor - panel + 4, f"{most:,.0f}", anchor="end", size=11),
        ]
        if place == len(errors) - 1:
            for second in range(int(len(values) * step) + 1):
                parts.append(_text(left + second / step * pitch, floor + 18, f"{second}", anchor="middle", size=11))
    spoken = "; ".join(f"{case}: {sum(values):,.0f} errors in all" for case, values in errors.items())
    return _svg(height, f"Errors during a restart, {title}. {spoken}", parts)


# ---- what they are made of


def _marks(nines: float) -> list[tuple[str, float]]:
    """Where the axis says which share it is."""
    named = (("50 %", 0.301), ("90 %", 1.0), ("99 %", 2.0), ("99.9 %", 3.0), ("99.99 %", 4.0))
    return [(share, nine) for share, nine in (*named, ("99.999 %", 5.0)) if nine <= nines]


def _round(seconds: float) -> str:
    """A power of ten with its unit."""
    return number(seconds * 1.0000001, "seconds").replace(".00", "").replace(".0", "")


def _apart(places: Mapping[str, float], distance: float) -> dict[str, float]:
    """The same places, pushed down until no two are nearer than this."""
    result: dict[str, float] = {}
    lowest = -math.inf
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        lowest = max(place, lowest + distance)
        result[name] = lowest
    return result


def _svg(height: int, spoken: str, parts: Sequence[str]) -> str:
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}' "
        f"role='img' aria-label={quoteattr(spoken)} {FONT}>"
    )
    return "\n".join([head, f"<title>{escape(spoken)}</title>", *parts, "</svg>"]) + "\n"


def _text(
    x: float, y: float, words: str, *, size: int = 13, anchor: str = "start", colour: str = INK, bold: bool = False
) -> str:
    weight = " font-weight='600'" if bold else ""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' fill='{colour}'{weight}>"
        f"{escape(words)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, *, dashed: bool = False) -> str:
    look = "stroke-dasharray='5 4'" if dashed else "stroke-opacity='0.35'"
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{INK}' {look}/>"
