"""Figures in words, and tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable

from benchmarks.figures import Spread
from benchmarks.results import Document, RowResults, Unit, Verdict


def number(value: float, unit: Unit) -> str:
    """A measured number with its unit, as a person would write it."""
    if unit == "seconds":
        factor, name = _scale(value)
        return f"{_digits(value * factor)} {name}" if value else "0 s"
    if unit == "per second":
        return f"{value:,.0f}/s"
    return f"{value:,.3f}" if unit == "index" else f"{value:,.10g}"


def spread(value: Spread, unit: Unit) -> str:
    """A median and, in brackets and the same unit, the lowest and the highest run; ``5.43 µs (5.21-5.90)``."""
    middle = number(value.median, unit)
    if value.low == value.high:
        return middle
    if unit == "seconds":
        factor, name = _scale(value.median or value.high)
        return f"{_digits(value.median * factor)} {name} ({_digits(value.low * factor)}-{_digits(value.high * factor)})"
    return f"{middle} ({number(value.low, unit).removesuffix('/s')}-{number(value.high, unit).removesuffix('/s')})"


def ratio(value: float) -> str:
    """A ratio: ``0.92``, ``13.4``, and ``1/57`` where it is small."""
    if 0 < value < 0.1:
        return f"1/{_digits(1 / value)}"
    return _digits(value)


def ratio_spread(value: Spread) -> str:
    """The median of some ratios, the lowest and the highest."""
    middle = ratio(value.median)
    return middle if value.low == value.high else f"{middle} ({ratio(value.low)}-{ratio(value.high)})"


def _scale(seconds: float) -> tuple[float, str]:
    for factor, name in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if abs(seconds) * factor >= 1:
            return factor, name
    return 1e9, "ns"


def _digits(value: float) -> str:
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(places, 3)}f}"


def sentence(verdict: Verdict) -> str:
    """A verdict in one line, its word first."""
    return f"{word(verdict):8}{claim(verdict)}"


def word(verdict: Verdict) -> str:
    """``holds``, ``MISSED`` or ``short`` (of an aim); with a question mark where a run says otherwise."""
    said = "holds" if verdict.holds else "short" if verdict.target.aim else "MISSED"
    return said if verdict.sure else said + "?"


def claim(verdict: Verdict) -> str:
    """The promise and the figure."""
    target, value = verdict.target, verdict.value
    bound = target.at_most if target.at_most is not None else target.at_least or 0.0
    what = f"{target.quantity}, {target.of}"
    if target.to is None:
        shown, limit = spread(value, verdict.unit), number(bound, verdict.unit)
    else:
        what, shown, limit = f"{what} / {target.to}", ratio_spread(value), ratio(bound)
    way = "at most" if target.at_most is not None else "at least"
    return f"{what}: {shown}; {'aim: ' if target.aim else ''}{way} {limit}"


def how_often(row: RowResults) -> str:
    """How many runs and rounds a row's figures are of."""
    runs, rounds = len(row.runs), row.rounds
    said = "one run" if runs == 1 else f"{runs} runs"
    return said if rounds == 1 else f"{said} of {rounds} rounds"


def cells(row: RowResults) -> list[list[str]]:
    """A line for the head and one for each case."""
    shown = [
        quantity for quantity in row.quantities if any(quantity.name in got for got in row.runs[0].numbers.values())
    ]
    return [
        ["", *(quantity.name for quantity in shown)],
        *(
            [
                case,
                *(
                    spread(row.spread(case, quantity.name), quantity.unit)
                    if quantity.name in row.runs[0].numbers[case]
                    else "-"
                    for quantity in shown
                ),
            ]
            for case in row.cases
        ),
    ]


def table(row: RowResults) -> str:
    """All of one row: a line for each case, then its targets and its notes."""
    lines = cells(row)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    after = [*body, *map(sentence, row.verdicts()), *row.notes.splitlines()]
    return "\n".join([f"{row.name}: {row.title} ({how_often(row)})", *(f"  {line}" for line in after)])


def summary(verdicts: Iterable[Verdict]) -> str:
    """The targets in a few words."""
    promised = [verdict for verdict in verdicts if not verdict.target.aim]
    kept = sum(verdict.holds for verdict in promised)
    unsure = sum(not verdict.sure for verdict in promised)
    text = f"{kept} of {len(promised)} targets hold"
    if unsure:
        text += f"; of {unsure} at least one run says otherwise than the median"
    return text + "."


def all_verdicts(document: Document) -> list[Verdict]:
    """What became of every target."""
    return [verdict for row in document.rows.values() for verdict in row.verdicts()]


def facts(document: Document) -> list[str]:
    """The machine and the server, a line each."""
    return [", ".join(f"{name} {value}" for name, value in of.items()) for of in (document.machine, document.server)]
