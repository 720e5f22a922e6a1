"""The way in, for the script ``dbkit`` and for ``python -m dbkit``. Imports nothing optional by itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from dbkit.errors import ExtraMissingError

PACKAGES: Final = ("click", "rich", "cryptography")
"""What the extra ``cli`` brings."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; the process's own if None.

    Returns:
        The exit code: 0 fine, 1 problems, 2 wrong usage or the extra is missing.
    """
    try:
        need()
    except ExtraMissingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    from dbkit.cli.commands import run  # click and rich

    return run(arguments)


def need() -> None:
    """Check that the extra is there.

    Raises:
        ExtraMissingError: it is not; the message says how to install it.
    """
    missing = next((name for name in PACKAGES if find_spec(name) is None), None)
    if missing is not None:
        raise ExtraMissingError("The command dbkit", missing, "cli")
