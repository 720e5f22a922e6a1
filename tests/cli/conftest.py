"""``run``: a command in this process, as a shell would run it, but quicker."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dbkit.cli import commands


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """What ``--json`` printed."""
        return json.loads(self.out)

    def marks(self, check: str) -> list[str]:
        return [each["mark"] for each in self.report["findings"] if each["check"] == check]

    def says(self, check: str) -> str:
        return "\n".join(
            f"{each['says']} -> {each['remedy']}" for each in self.report["findings"] if each["check"] == check
        )


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path, monkeypatch) -> Callable[..., Ran]:
    """Run ``dbkit`` with these arguments, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def command(*arguments: object) -> Ran:
        capfd.readouterr()
        code = commands.run([str(each) for each in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Ran(code, out, err)

    return command
