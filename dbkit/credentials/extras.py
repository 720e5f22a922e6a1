"""The cloud providers' own packages, which are optional: looked for early, imported late.

A credential is made when an application starts, so a missing package is told there. Importing one takes some 200 ms,
so that waits for the first fetch, on the fetch's own thread.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from dbkit.credentials.errors import CredentialError


def need(extra: str, *modules: str) -> None:
    """Check that the modules of an extra are installed, without importing them.

    Args:
        extra: the extra's name.
        modules: their full names.

    Raises:
        CredentialError: one is missing; the message says how to install it.
    """
    for name in modules:
        try:
            found = sys.modules.get(name) is not None or find_spec(name) is not None
            missing = None if found else ImportError(f"No module named {name!r}", name=name)
        except ImportError as error:  # not even the package it is in
            missing = error.with_traceback(None)
        if missing is not None:
            message = f"{name} is not installed; it comes with: pip install 'dbkit-postgres[{extra}]'"
            raise CredentialError(message, missing) from missing


def one_text(name: str, value: object) -> str:
    """An argument that must be a text with something in it.

    Raises:
        TypeError: it is no text.
        ValueError: it is empty.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not value.strip():
        raise ValueError(f"{name} must not be empty")
    return value
