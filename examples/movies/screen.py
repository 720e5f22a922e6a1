"""What a person sees in the terminal: lines, a progress bar, a chart of the pool over time.

Where the output is no terminal there are no control characters, and a line of progress now and then. Where its
encoding has no block characters, plain ones stand in.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import monotonic
from typing import TextIO

WIDTH = 80
LINE_EVERY = 2.0
"""Seconds between two lines of progress where the output is no terminal."""
REDRAW_EVERY = 0.1


@dataclass(frozen=True)
class Sample:
    """The pool at one moment: connections in use, idle and being opened, and borrowers waiting."""

    in_use: int
    idle: int
    opening: int
    waiting: int


@dataclass(frozen=True)
class Glyphs:
    """What bars and charts are drawn with; ``levels`` run from nothing to full."""

    in_use: str
    idle: str
    axis: str
    levels: str


BLOCKS = Glyphs(in_use="█", idle="░", axis="│", levels=" ▁▂▃▄▅▆▇█")
PLAIN = Glyphs(in_use="#", idle=".", axis="|", levels=" .:-=+*%#")


class Screen:
    """Writes to one stream, for one person. Not thread-safe: only the main thread speaks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = stream.encoding or "ascii"
        self._live = stream.isatty()
        self.glyphs = BLOCKS if self._can_show(BLOCKS.in_use + BLOCKS.idle + BLOCKS.axis + BLOCKS.levels) else PLAIN
        self._bar_open = False
        self._drawn: float | None = None

    def say(self, text: str = "") -> None:
        """Write a line, beneath the progress bar if one is open; what the encoding lacks becomes ``?``."""
        self.end_progress()
        self._write(f"{text}\n")

    def progress(self, share: float, note: str) -> None:
        """Show how much is done, 0 to 1, and a few words. Cheap: drawn only when it is time to, and at the end."""
        now = monotonic()
        if self._drawn is None and not self._live:
            self._drawn = now
        if share < 1 and self._drawn is not None and now - self._drawn < (REDRAW_EVERY if self._live else LINE_EVERY):
            return
        self._drawn = now
        text = f"{share:4.0%}  {note}"
        if not self._live:
            self._write(f"  {text}\n")
            return
        width = min(WIDTH, shutil.get_terminal_size().columns - 1)
        bar = self._bar(share, max(0, width - len(text) - 5))
        self._write(f"\r  {bar} {text}"[: width + 1].ljust(width + 1))
        self._bar_open = True
        if share >= 1:
            self.end_progress()

    def end_progress(self) -> None:
        """Leave the progress bar as it stands; what comes next starts a new line."""
        if self._bar_open:
            self._bar_open = False
            self._write("\n")
        self._drawn = None

    def _bar(self, share: float, width: int) -> str:
        full = int(share * width)
        return self.glyphs.in_use * full + self.glyphs.idle * (width - full)

    def _can_show(self, text: str) -> bool:
        try:
            text.encode(self._encoding)
        except UnicodeError:
            return False
        return True

    def _write(self, text: str) -> None:
        self._stream.write(text.encode(self._encoding, "replace").decode(self._encoding))
        self._stream.flush()


def chart(samples: Sequence[Sample], *, max_size: int, seconds: float, glyphs: Glyphs = BLOCKS) -> list[str]:
    """Draw the pool over time, at most 80 columns wide.

    Args:
        samples: the pool at even intervals.
        max_size: the most connections there may be: the height of the chart.
        seconds: from the first sample to the last.
        glyphs: what to draw with.

    Returns:
        The lines: connections in use below, idle ones above them, and beneath the axis how many were waiting.
    """
    if not samples:
        return ["(no samples)"]
    margin = max(len("waiting"), len(str(max_size))) + 2
    columns = _squeeze(samples, WIDTH - margin - 1)
    rows = min(max_size, 10)
    lines = []
    for row in range(rows, 0, -1):
        level = max_size * row / rows
        half = max_size / rows / 2
        cells = "".join(_cell(column, level - half, glyphs) for column in columns)
        label = f"{round(level)}" if row in (rows, 1) or row == (rows + 1) // 2 else ""
        lines.append(f"{label:>{margin - 1}} {glyphs.axis}{cells}".rstrip())
    most = max(column[2] for column in columns)
    top = len(glyphs.levels) - 1
    waiting = "".join(glyphs.levels[math.ceil(column[2] / most * top) if most else 0] for column in columns)
    lines.append(f"{'waiting':>{margin - 1}} {glyphs.axis}{waiting}".rstrip())
    lines.append(f"{'':{margin}}0 s{f'{seconds:.1f} s':>{max(len(columns) - 2, 6)}}")
    lines.append(f"{'':{margin}}{glyphs.in_use} in use  {glyphs.idle} idle or opening  waiting: {most:.0f} at most")
    return lines


def _cell(column: tuple[float, float, float], level: float, glyphs: Glyphs) -> str:
    in_use, size, _ = column
    return glyphs.in_use if in_use > level else glyphs.idle if size > level else " "


def _squeeze(samples: Sequence[Sample], width: int) -> list[tuple[float, float, float]]:
    """At most ``width`` columns of in use, size (both on average) and waiting (at most)."""
    count = min(width, len(samples))
    edges = [len(samples) * i // count for i in range(count + 1)]
    parts = [samples[start:end] for start, end in pairwise(edges)]
    return [
        (
            sum(sample.in_use for sample in part) / len(part),
            sum(sample.in_use + sample.idle + sample.opening for sample in part) / len(part),
            max(sample.waiting for sample in part),
        )
        for part in parts
    ]
