"""What is told at the end: what was wrong with the records, and how the threads and the pool fared."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import astuple, fields
from pathlib import Path

from dbkit.core.stats import Histogram
from examples.movies.dirty import Kind, Note
from examples.movies.screen import Screen, chart
from examples.movies.workload import Outcome

SHOWN = 5
"""So many notes of one kind are shown; the file of ``--report`` holds all."""


def show_notes(notes: Sequence[Note], path: Path | None, say: Callable[[str], None]) -> None:
    """Tell what was wrong with the records, by kind; write all of it to a CSV file if a path is given.

    Raises:
        OSError: the file cannot be written.
    """
    if path is not None:
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            table = csv.writer(file)
            table.writerow(field.name for field in fields(Note))
            table.writerows(astuple(note) for note in notes)
        say(f"  {len(notes):,} notes written to {path}")
    if notes:
        say("  What was wrong with the records, counted from 0:")
    for kind in Kind:
        those = [note for note in notes if note.kind is kind]
        if not those:
            continue
        say(f"    {len(those):,} x {kind}")
        for note in those[:SHOWN]:
            say(f"        {note}")
        if len(those) > SHOWN:
            say(f"        ... and {len(those) - SHOWN:,} more (--report FILE writes them all)")


def show_outcome(outcome: Outcome, *, max_size: int, screen: Screen) -> None:
    """Tell what the threads did, how long they waited and worked, and draw the pool over time."""
    say = screen.say
    operations = outcome.done.total()
    say(
        f"  {outcome.queries / outcome.seconds:,.0f} queries per second: {outcome.queries:,} in "
        f"{operations:,} operations in {outcome.seconds:.1f} s"
    )
    say("  " + ", ".join(f"{name} {count:,}" for name, count in outcome.done.most_common()))
    if outcome.sold_out:
        say(f"  {outcome.sold_out:,} orders refused: sold out")
    waited = outcome.wait_time.count
    share = waited / outcome.borrows if outcome.borrows else 0.0
    say(f"  {outcome.borrows:,} borrows; {share:.0%} of them stood in line")
    say("  Times as the pool counted them, to within a factor of two:")
    say(f"  {'':<18}{'median':>10}{'95 %':>10}{'longest':>10}")
    for name, times in (("wait, if in line", outcome.wait_time), ("use", outcome.use_time)):
        say(f"  {name:<18}" + "".join(f"{_milliseconds(times, q):>10}" for q in (0.5, 0.95, 1.0)))
    for (name, text), count in outcome.errors.most_common(SHOWN):
        say(f"  ERROR {count:,} x {name}: {text}")
    if len(outcome.errors) > SHOWN:
        say(f"  ... and {len(outcome.errors) - SHOWN:,} more kinds of errors")
    say()
    say("The pool over time")
    for line in chart(outcome.samples, max_size=max_size, seconds=outcome.seconds, glyphs=screen.glyphs):
        say(line)


def _milliseconds(times: Histogram, q: float) -> str:
    return f"{times.quantile(q) * 1e3:,.2f} ms" if times.count else "-"
