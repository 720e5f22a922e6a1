"""Targets and verdicts; tables for people, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.figures import Spread, ratios

if TYPE_CHECKING:
    from benchmarks.measure import Results

Unit = Literal["seconds", "per second", "index", "count"]
Samples = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Quantity:
    """Something that is read, and its unit."""

    name: str
    unit: Unit


@dataclass(frozen=True, kw_only=True)
class Target:
    """A promise about one quantity of one case, or about its ratio to another case's.

    Attributes:
        quantity: of what.
        of: whose.
        to: over whose, for a ratio; None for the plain number.
        at_most, at_least: the bound; exactly one of them.
        aim: hoped for, not promised.
    """

    quantity: str
    of: str
    to: str | None = None
    at_most: float | None = None
    at_least: float | None = None
    aim: bool = False

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("give at_most or at_least")

    def holds(self, value: float) -> bool:
        """Whether this value keeps the promise."""
        if self.at_most is not None:
            return value <= self.at_most
        return self.at_least is not None and value >= self.at_least


@dataclass(frozen=True)
class Verdict:
    """What became of a target.

    Attributes:
        target: which.
        value: the ratio, or the plain number, over the rounds.
        holds: whether its median keeps the promise.
        sure: whether its quartiles agree with the median on that.
    """

    target: Target
    value: Spread
    holds: bool
    sure: bool


def judge(target: Target, samples: Samples) -> Verdict:
    """Compare, round by round.

    Raises:
        KeyError: the case or the quantity was not measured.
    """
    values = samples[target.of][target.quantity]
    if target.to is not None:
        values = ratios(values, samples[target.to][target.quantity])
    spread = Spread.of(values)
    holds = target.holds(spread.median)
    sure = target.holds(spread.low) == target.holds(spread.high) == holds
    return Verdict(target, spread, holds, sure)


# ---- in words


def number(value: float, unit: Unit) -> str:
    """A measured number with its unit, as a person would write it."""
    if unit == "seconds":
        for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
            if abs(value) * factor >= 1:
                return f"{_digits(value * factor)} {name}"
        return f"{_digits(value * 1e9)} ns" if value else "0 s"
    if unit == "per second":
        return f"{value:,.0f}/s"
    return f"{value:,.3f}" if unit == "index" else f"{value:,.10g}"


def ratio(value: float) -> str:
    """A ratio: ``0.92``, ``13.4``, and ``1/57`` where it is small."""
    if 0 < value < 0.1:
        return f"1/{_digits(1 / value)}"
    return _digits(value)


def _digits(value: float) -> str:
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(places, 3)}f}"


def sentence(verdict: Verdict, unit: Unit) -> str:
    """A verdict in one line."""
    target, value = verdict.target, verdict.value
    show = ratio if target.to is not None else lambda plain: number(plain, unit)
    bound = target.at_most if target.at_most is not None else target.at_least
    word = ("holds" if verdict.holds else "short" if target.aim else "MISSED") + ("" if verdict.sure else "?")
    what = f"{target.quantity}, {target.of}" + (f" / {target.to}" if target.to is not None else "")
    spread = f" ({show(value.low)} to {show(value.high)})" if value.count > 1 else ""
    limit = ("at most " if target.at_most is not None else "at least ") + show(bound or 0.0)
    return f"{word:8}{what}: {show(value.median)}{spread}; {'aim: ' if target.aim else ''}{limit}"


def table(results: Results) -> str:
    """All of one row: a line for each case, then its targets."""
    row = results.row
    shown = [quantity for quantity in row.quantities if any(quantity.name in got for got in results.samples.values())]
    lines = [["", *(quantity.name for quantity in shown)]]
    rounds = 1
    for case, got in results.samples.items():
        cells = [case]
        for quantity in shown:
            values = got.get(quantity.name)
            cells.append(_cell(Spread.of(values), quantity.unit) if values else "-")
            rounds = max(rounds, len(values or ()))
        lines.append(cells)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    body = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    units = {quantity.name: quantity.unit for quantity in row.quantities}
    verdicts = [f"  {sentence(verdict, units[verdict.target.quantity])}" for verdict in verdicts_of(results)]
    head = f"{row.name}: {row.title} ({'one round' if rounds == 1 else f'{rounds} rounds'})"
    return "\n".join([head, *body, *verdicts, *(f"  {line}" for line in row.notes.splitlines())])


def _cell(spread: Spread, unit: Unit) -> str:
    middle = number(spread.median, unit)
    if spread.low == spread.high:
        return middle
    return f"{middle} ({number(spread.low, unit)} to {number(spread.high, unit)})"


def verdicts_of(results: Results) -> list[Verdict]:
    """What became of a row's targets."""
    return [judge(target, results.samples) for target in results.row.targets]


def summary(verdicts: Iterable[Verdict]) -> str:
    """The run in a few words."""
    promised = [verdict for verdict in verdicts if not verdict.target.aim]
    kept = sum(verdict.holds for verdict in promised)
    unsure = sum(not verdict.sure for verdict in promised)
    text = f"{kept} of {len(promised)} targets hold"
    if unsure:
        text += f"; {unsure} of the verdicts carry a question mark: a quarter of the rounds or more says otherwise"
    return text + "."


# ---- for programs


def document(everything: Sequence[Results], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything measured, in plain types: seconds, per second, or none of both; one sample for each round."""
    return {"machine": dict(facts), "rows": {results.row.name: _row_document(results) for results in everything}}


def _row_document(results: Results) -> dict[str, Any]:
    row = results.row
    return {
        "title": row.title,
        "notes": row.notes,
        "units": {quantity.name: quantity.unit for quantity in row.quantities},
        "cases": {
            case: {quantity: {**asdict(Spread.of(values)), "samples": values} for quantity, values in got.items()}
            for case, got in results.samples.items()
        },
        "targets": [
            {
                **{name: value for name, value in asdict(verdict.target).items() if value is not None},
                "value": asdict(verdict.value),
                "holds": verdict.holds,
                "sure": verdict.sure,
            }
            for verdict in verdicts_of(results)
        ],
    }


def write_json(path: Path, everything: Sequence[Results], facts: Mapping[str, Any]) -> None:
    """Write the document, making the folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document(everything, facts), indent=1) + "\n", encoding="utf-8")
