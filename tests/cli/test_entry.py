"""The way in: help with examples, completion, a missing extra, and what ``import dbkit`` does not load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dbkit.cli import launch
from dbkit.errors import ExtraMissingError

SCRIPT = Path(sys.executable).with_name("dbkit")


def process(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **environment}, text=True, capture_output=True, timeout=120, check=False
    )


@pytest.mark.parametrize("arguments", [(), ("check",), ("top",), ("bench",)])
def test_help_has_examples(run, arguments):
    ran = run(*arguments, "--help")
    assert ran.code == 0
    assert "Examples:\n" in ran.out
    assert "\n  dbkit " in ran.out.partition("Examples:")[2].replace("\n    dbkit", "\n  dbkit")
    assert max(map(len, ran.out.splitlines())) <= 80


def test_the_script_and_the_module_are_the_same():
    for command in ((str(SCRIPT),), (sys.executable, "-m", "dbkit")):
        ran = process(*command, "--version")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.startswith("dbkit, version ")


@pytest.mark.parametrize(("typed", "place", "words"), [("dbkit ", 1, "bench"), ("dbkit check --pro", 2, "--processes")])
def test_the_shell_completes(typed, place, words):
    ran = process(str(SCRIPT), _DBKIT_COMPLETE="bash_complete", COMP_WORDS=typed, COMP_CWORD=str(place))
    assert words in ran.stdout
    assert "_DBKIT_COMPLETE" in process(str(SCRIPT), _DBKIT_COMPLETE="zsh_source").stdout


def test_a_missing_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr(launch, "find_spec", lambda name: None if name == "rich" else object())
    with pytest.raises(ExtraMissingError, match=r"dbkit-postgres\[cli\]"):
        launch.need()
    assert launch.main(["--help"]) == 2
    assert "needs rich" in capsys.readouterr().err


def test_nothing_of_it_is_loaded_before_it_is_asked_for():
    code = (
        "import sys, dbkit, dbkit.live, dbkit.cli.launch; print({'click', 'rich', 'cryptography'} & set(sys.modules))"
    )
    assert process(sys.executable, "-c", code).stdout == "set()\n"


def test_a_closed_pipe_is_no_error(shared_database):
    ran = process("/bin/sh", "-c", f"'{sys.executable}' -m dbkit check --help | head -n 1")
    assert (ran.returncode, ran.stderr) == (0, "")
