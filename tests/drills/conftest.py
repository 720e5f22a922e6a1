"""``drill`` notes a test's figures: they are shown at the end of a run of this folder, and lie in ``build/drills``.

``canary`` watches each test here: none may show a password of a server of its own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final

import pytest

from ..migrate.conftest import scripts as scripts
from .canary import Canary, note_what_is_there
from .forms import FORM
from .record import FOLDER, Drill, read
from .watched import note_passwords, watched

MakeDrill = Callable[..., Drill]
SAID: Final = pytest.StashKey[str]()
"""What a test printed and logged, as pytest kept it."""

_began = time.time()
note_passwords()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish() -> None:
    """Before tests/conftest.py has the collector leave it alone."""
    note_what_is_there()


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


@pytest.fixture
def canary_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the canary of this test keeps its words and its finds."""
    return tmp_path_factory.mktemp("canary")


@pytest.fixture(autouse=True)
def canary(request: pytest.FixtureRequest, canary_folder: Path) -> Iterator[Canary]:
    """Watch the test, and fail it if it showed a password; return the canary, for further words."""
    watching = Canary(canary_folder)
    if "server" in request.fixturenames:  # a test of another folder may have started it
        watching.learn(request.getfixturevalue("server").password)
    with watched(watching, canary_folder):
        yield watching
        watching.look("what the drill said", request.node.stash.get(SAID, ""))
        watching.look_at_the_process()
    assert watching.finds() == ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what a test said for its canary."""
    report = yield
    item.stash[SAID] = report.capstdout + report.capstderr + report.caplog
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the drills of this run saw."""
    records = [read(file) for file in sorted(FOLDER.glob("*.json")) if file.stat().st_mtime >= _began]
    if records:
        terminalreporter.section(f"drills, {FORM} form")
        for record in records:
            for line in record.lines():
                terminalreporter.write_line(line)
