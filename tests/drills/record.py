"""What a drill saw: its figures, its targets, and the file they are kept in.

A file holds one test: ``{"number", "title", "form", "case", "rows": [{"pool", "figures"}], "targets": [...]}``, each
target with ``what``, ``seen``, ``most`` and ``held``; ``absent`` says by pool why it does not run. The report merges
the files by the drill's number.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[2] / "build" / "drills"
"""Where the figures of the last run are."""

Figure = int | float | str


@dataclass(frozen=True)
class Row:
    """One pool in one drill."""

    pool: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class Target:
    """What was aimed at, and what came.

    Attributes:
        what: the quantity, with its unit.
        seen: the figure.
        most: what it may be at most.
    """

    what: str
    seen: float
    most: float

    @property
    def held(self) -> bool:
        return self.seen <= self.most

    def __str__(self) -> str:
        return f"{self.what}: {show(self.seen)}, target {show(self.most)}{'' if self.held else ', MISSED'}"


@dataclass
class Drill:
    """One test's record.

    Attributes:
        number: the drill's, in ``docs/reliability.md``.
        title: what happens, in a few words.
        case: what sets this test apart from others of the same drill.
        form: ``short`` or ``long``.
        curves: for pictures: a list of numbers for each pool.
        absent: the pools that do not run it, each with the reason.
    """

    number: int
    title: str
    case: str
    form: str
    rows: list[Row] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    curves: dict[str, Sequence[float]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def row(self, pool: str, figures: Mapping[str, Figure]) -> None:
        """Note one pool's figures, by quantity with its unit."""
        self.rows.append(Row(pool, {name: _rounded(value) for name, value in figures.items()}))

    def without(self, pool: str, reason: str) -> None:
        """Note why a pool does not run this."""
        self.absent[pool] = reason

    def aim(self, what: str, seen: float, *, most: float) -> None:
        """Note how a target fared. A figure that depends on the machine's speed is reported, and fails no test."""
        self.targets.append(Target(what, _rounded(seen), most))

    def must(self, what: str, seen: float, *, most: float) -> None:
        """Note how a target fared, and fail the test if it was missed."""
        self.aim(what, seen, most=most)
        assert seen <= most, str(self.targets[-1])

    def lines(self) -> list[str]:
        """The table of this drill: one line for each pool, one for each target."""
        head = f"{self.number:>2} {self.title}" + (f", {self.case}" if self.case else "") + f" ({self.form} form)"
        rows = [
            f"   {row.pool:<19} " + ", ".join(f"{name} {show(value)}" for name, value in row.figures.items())
            for row in self.rows
        ]
        rows += [f"   {pool:<19} not run: {reason}" for pool, reason in self.absent.items()]
        return [head, *rows, *(f"   {'target':<19} {target}" for target in self.targets)]

    def write(self, name: str) -> None:
        """Keep it, whole or not at all.

        Args:
            name: the file's, without its ending.
        """
        FOLDER.mkdir(parents=True, exist_ok=True)
        content = asdict(self) | {"python": platform.python_version(), "processors": os.cpu_count()}
        for kept, target in zip(content["targets"], self.targets, strict=True):
            kept["held"] = target.held
        draft = FOLDER / f".{name}.{os.getpid()}"
        draft.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
        draft.replace(FOLDER / f"{name}.json")


def read(path: Path) -> Drill:
    """A record as it was written."""
    content: dict[str, Any] = json.loads(path.read_text())
    return Drill(
        content["number"],
        content["title"],
        content["case"],
        content["form"],
        [Row(**row) for row in content["rows"]],
        [Target(target["what"], target["seen"], target["most"]) for target in content["targets"]],
        content["curves"],
        content.get("absent", {}),
    )


def show(value: Figure) -> str:
    """A figure for people: whole numbers grouped, others with two digits that say something."""
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else value


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value
