"""The documents of the older classes, where they are at hand: their code is run as it stands there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / ".." / "shared" / "seeds"


def document(number: str) -> str:
    """Return a document's text; skip the test where it is absent."""
    found = sorted(FOLDER.glob(f"{number}_*.txt"))
    if not found:
        pytest.skip(f"the document {number} is not there ({FOLDER.relative_to(Path(__file__).parents[2])})")
    return found[0].read_text(encoding="utf-8")


def blocks(number: str, language: str = "python") -> list[str]:
    """Return a document's blocks of code, in order."""
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", document(number), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for code in found]


def block(number: str, having: str, language: str = "python") -> str:
    """Return the one block of code that has these words in it."""
    found = [code for code in blocks(number, language) if having in code]
    assert len(found) == 1, f"{len(found)} blocks have {having!r}"
    return found[0]


def changed(code: str, **changes: str) -> str:
    """Return the code with single strings replaced, each of which must be there. Given as pairs ``a="old -> new"``."""
    for change in changes.values():
        old, _, new = change.partition(" -> ")
        assert old in code, f"{old!r} is not in the document's code"
        code = code.replace(old, new)
    return code
