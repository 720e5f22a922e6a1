"""``drill`` notes a test's figures. They are shown at the end of a run of this folder, and lie in ``build/drills``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest

from .forms import FORM
from .record import FOLDER, Drill, read

MakeDrill = Callable[..., Drill]
_began = time.time()


@pytest.fixture
def drill(request: pytest.FixtureRequest) -> Iterator[MakeDrill]:
    """Return a function that begins a record: ``drill(number, title, case="")``. Whatever was noted is kept."""
    made: list[Drill] = []

    def make(number: int, title: str, case: str = "") -> Drill:
        made.append(Drill(number, title, case, FORM))
        return made[-1]

    yield make
    for place, record in enumerate(made):
        name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_")).strip("-")
        record.write(f"{record.number:02}-{name}" + (f"-{place}" if place else ""))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the drills of this run saw."""
    records = [read(file) for file in sorted(FOLDER.glob("*.json")) if file.stat().st_mtime >= _began]
    if records:
        terminalreporter.section(f"drills, {FORM} form")
        for record in records:
            for line in record.lines():
                terminalreporter.write_line(line)
