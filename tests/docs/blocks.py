"""The blocks of code in README and docs/, and how a page of them is run.

- A ``python`` block is executed; the blocks of a page are one program, in order.
- One that begins with the name of a file (``# models.py``) is that file, written to the working folder.
- One that begins with ``# not run by the tests: REASON`` needs what is not here. It is compiled, and that is all.
- Of a ``shell`` block those lines are run that call ``dbkit.migrate``, Alembic or pytest. The others
  (``pip install``, ``export``) are for the reader.

A page's placeholder for the server's URL becomes the URL of the test's own database.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import alembic.config
from sqlalchemy import Engine

import dbkit.migrate.__main__
from dbkit import DatabaseConnectionManager

ROOT = Path(__file__).parents[2]
PLACEHOLDER = "user:pass@localhost/test_db"
"""What stands for a server in the pages, behind ``postgresql://`` or ``postgresql+psycopg2://``."""

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# ([\w./]+\.(?:py|ini))\n")
_MARK = "# not run by the tests: "
_RUN = re.compile(r"(python -m dbkit\.migrate|alembic|pytest)\b")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block of code.

    Attributes:
        page: its page, from the root of the repository.
        line: of the page, on which the code begins.
        language: as the fence says it.
        code: the code.
    """

    page: str
    line: int
    language: str
    code: str

    @property
    def is_marked(self) -> bool:
        """Whether it says that it is not run."""
        return self.code.startswith(_MARK)

    @property
    def file(self) -> str | None:
        """The file it is; None for a block that is executed."""
        found = _FILE.match(self.code)
        return found[1] if found else None

    def on(self, url: str) -> Block:
        """The same block, for this server."""
        there = url.split("://", 1)[1]
        return Block(page=self.page, line=self.line, language=self.language, code=self.code.replace(PLACEHOLDER, there))

    def run(self, names: dict[str, Any]) -> None:
        """Execute it in this namespace, with the line numbers of the page."""
        exec(compile("\n" * (self.line - 1) + self.code, self.page, "exec"), names)

    def commands(self) -> Iterator[list[str]]:
        """The commands of a shell block that are run here."""
        for line in self.code.splitlines():
            if _RUN.match(line):
                yield shlex.split(line, comments=True)


def blocks_of(page: str) -> list[Block]:
    """The blocks of code of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(page=page, line=text.count("\n", 0, found.start(2)) + 1, language=found[1], code=found[2])
        for found in _FENCE.finditer(text)
    ]


def block(page: str, part: str) -> Block:
    """The one python block of a page that contains this."""
    [found] = [one for one in blocks_of(page) if one.language == "python" and part in one.code]
    return found


def pages() -> list[str]:
    """README and every page of docs/ that has python in it."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    names = [path.relative_to(ROOT).as_posix() for path in found]
    return [name for name in names if any(one.language == "python" for one in blocks_of(name))]


@contextmanager
def page_run(page: str, url: str, folder: Path, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Run a page's blocks in order, and give the names it made, for a block; then its managers and engines are closed.

    Args:
        page: from the root of the repository.
        url: of the database that the placeholder becomes, and ``DATABASE_URL`` is.
        folder: an empty one, which is the working folder and on ``sys.path``.
        given: names that the page begins with.
    """
    names: dict[str, Any] = {"__name__": "__page__", **given}
    try:
        for one in blocks_of(page):
            here = one.on(url)
            if one.is_marked:
                compile(one.code, page, "exec")
            elif one.language == "shell":
                for command in here.commands():
                    run_command(command, folder)
            elif one.language == "python" and here.file is not None:
                target = folder / here.file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(here.code, encoding="utf-8")
            elif one.language == "python":
                here.run(names)
        for name, value in names.items():
            if isinstance(value, DatabaseConnectionManager):
                assert value.pool.stats().in_use == 0, f"{page}: {name} has connections out at the end of the page"
        yield names
    finally:
        for value in names.values():
            if isinstance(value, DatabaseConnectionManager):
                value.close_connections(timeout=0)
            elif isinstance(value, Engine):
                value.dispose()


def run_command(command: list[str], folder: Path) -> None:
    """Run a command of a page, in this process where that works: a new one imports all there is again."""
    if command[0] == "alembic":
        alembic.config.main(command[1:])
    elif command[:3] == ["python", "-m", "dbkit.migrate"]:
        assert dbkit.migrate.__main__.main(command[3:]) == 0, shlex.join(command)
    else:
        assert command[0] == "pytest", f"nobody runs {shlex.join(command)}"
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
