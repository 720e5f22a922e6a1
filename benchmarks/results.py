"""The results: what was measured, run by run, and the file that keeps it, which can be completed row by row."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.figures import Spread, ratios

Unit = Literal["seconds", "per second", "index", "count"]


@dataclass(frozen=True)
class Quantity:
    """Something that is read, and its unit.

    Attributes:
        worst: a run's figure is the highest of its rounds, in place of their median.
    """

    name: str
    unit: Unit
    worst: bool = False


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
        unit: of its quantity.
        value: the ratio, or the plain number, over the runs.
        holds: whether its median keeps the promise.
        sure: whether every run says the same.
    """

    target: Target
    unit: Unit
    value: Spread
    holds: bool
    sure: bool


@dataclass(frozen=True)
class Run:
    """What one run of a row gave.

    Attributes:
        numbers: ``numbers[case][quantity]``.
        shapes: ``shapes[case][name]``, what the charts are drawn from.
    """

    numbers: Mapping[str, Mapping[str, float]]
    shapes: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)


@dataclass
class RowResults:
    """One row's results: how it was measured, and its runs.

    Attributes:
        name, title, notes, quantities, targets: as the row had them.
        rounds: in each run.
        load: how many processes wanted a processor in the minute before each run.
        took: seconds that each run took.
        runs: the figures.
    """

    name: str
    title: str
    notes: str
    quantities: tuple[Quantity, ...]
    targets: tuple[Target, ...]
    rounds: int
    load: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    @property
    def cases(self) -> list[str]:
        """Who did the work, in the order shown."""
        return list(self.runs[0].numbers) if self.runs else []

    def unit(self, quantity: str) -> Unit:
        """The unit of a quantity."""
        return next(known.unit for known in self.quantities if known.name == quantity)

    def values(self, case: str, quantity: str) -> list[float]:
        """One number for each run.

        Raises:
            KeyError: the case or the quantity was not measured.
        """
        return [run.numbers[case][quantity] for run in self.runs]

    def spread(self, case: str, quantity: str) -> Spread:
        """The median over the runs, with the lowest and the highest."""
        return Spread.of(self.values(case, quantity))

    def ratio(self, quantity: str, of: str, to: str) -> Spread:
        """The ratio of two cases, taken within each run."""
        return Spread.of(ratios(self.values(of, quantity), self.values(to, quantity)))

    def verdicts(self) -> list[Verdict]:
        """What became of the targets."""
        return [self._judge(target) for target in self.targets]

    def _judge(self, target: Target) -> Verdict:
        if target.to is None:
            value = self.spread(target.of, target.quantity)
        else:
            value = self.ratio(target.quantity, target.of, target.to)
        holds = target.holds(value.median)
        sure = target.holds(value.low) == target.holds(value.high) == holds
        return Verdict(target, self.unit(target.quantity), value, holds, sure)


class ResultsError(Exception):
    """The file has no results, or results that cannot be completed by those to come."""


FORMAT = 1


@dataclass
class Document:
    """A file of results.

    Attributes:
        quick: whether it is of a quick run, which is there to try things, not to be quoted.
        machine: facts about the machine and the versions of what was measured.
        server: facts about the server and how it is reached.
        rows: by name.
    """

    quick: bool
    machine: dict[str, Any]
    server: dict[str, Any]
    rows: dict[str, RowResults] = field(default_factory=dict)

    def check_same(self, other: Document) -> None:
        """Refuse to put results together that were not measured alike.

        Raises:
            ResultsError: naming all that differs.
        """
        ours, theirs = ({"quick": of.quick, **of.machine, **of.server} for of in (self, other))
        names = dict.fromkeys([*ours, *theirs])
        differing = [
            f"{name} {theirs.get(name)} there, {ours.get(name)} now"
            for name in names
            if ours.get(name) != theirs.get(name)
        ]
        if differing:
            raise ResultsError("these results were measured otherwise: " + "; ".join(differing))

    def row(self, name: str) -> RowResults:
        """The results of one row.

        Raises:
            ResultsError: it was not measured.
        """
        try:
            return self.rows[name]
        except KeyError:
            raise ResultsError(f"the row {name} was not measured: python -m benchmarks {name} completes it") from None

    def put(self, row: RowResults, order: Sequence[str]) -> None:
        """Put a row in the place of its name; rows stand in this order."""
        rows = {**self.rows, row.name: row}
        places = {name: place for place, name in enumerate(order)}
        self.rows = dict(sorted(rows.items(), key=lambda item: places.get(item[0], len(places))))

    # ---- on disk

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all; make its folder if need be."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.new")
        beside.write_text(self.dump(), encoding="utf-8")
        beside.replace(path)

    def dump(self) -> str:
        """The file's text: JSON; seconds, per second, or none of both; one number for each run."""
        rows = {name: _row_to_plain(row) for name, row in self.rows.items()}
        plain = {
            "format": FORMAT,
            "quick": self.quick,
            "machine": self.machine,
            "server": self.server,
            "rows": rows,
        }
        text = json.dumps(plain, indent=1, ensure_ascii=False)
        in_one_line = re.compile(r"\[\s+([-\d.e+,\s]+?)\s+\]")
        return in_one_line.sub(lambda found: "[" + re.sub(r"\s+", " ", found[1]) + "]", text) + "\n"

    @classmethod
    def load(cls, path: Path) -> Document:
        """Read the file.

        Raises:
            ResultsError: there is none, or it is of another format.
        """
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ResultsError(f"{path} is not there; python -m benchmarks --json {path} makes it") from None
        except ValueError as error:
            raise ResultsError(f"{path} is no JSON: {error}") from None
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            raise ResultsError(f"{path} is not of format {FORMAT}: measure again, with --fresh")
        rows = {name: _row_from_plain(name, row) for name, row in plain["rows"].items()}
        return cls(plain["quick"], plain["machine"], plain["server"], rows)


def _row_to_plain(row: RowResults) -> dict[str, Any]:
    return {
        "title": row.title,
        "notes": row.notes,
        "quantities": [asdict(quantity) for quantity in row.quantities],
        "targets": [
            {name: value for name, value in asdict(target).items() if value is not None} for target in row.targets
        ],
        "rounds": row.rounds,
        "load": row.load,
        "took": [_short(seconds) for seconds in row.took],
        "cases": {
            case: {
                quantity.name: [_short(value) for value in row.values(case, quantity.name)]
                for quantity in row.quantities
                if quantity.name in row.runs[0].numbers[case]
            }
            for case in row.cases
        },
        "shapes": [
            {case: {what: [_short(point) for point in points] for what, points in drawn.items()} for case, drawn in got}
            for got in (run.shapes.items() for run in row.runs)
        ],
    }


def _row_from_plain(name: str, plain: Mapping[str, Any]) -> RowResults:
    cases, shapes = plain["cases"], plain["shapes"]
    runs = [
        Run(
            {case: {quantity: values[number] for quantity, values in got.items()} for case, got in cases.items()},
            shapes[number],
        )
        for number in range(len(shapes))
    ]
    return RowResults(
        name,
        plain["title"],
        plain["notes"],
        tuple(Quantity(**quantity) for quantity in plain["quantities"]),
        tuple(Target(**target) for target in plain["targets"]),
        plain["rounds"],
        list(plain["load"]),
        list(plain["took"]),
        runs,
    )


def _short(value: float) -> float:
    """Four digits, which is more than any of them deserves."""
    if not math.isfinite(value) or value == 0:
        return value
    rounded = round(value, 3 - math.floor(math.log10(abs(value))))
    return int(rounded) if rounded == int(rounded) else rounded
