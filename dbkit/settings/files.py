"""Reads files: a file's text, and the variables of a ``.env`` file."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dbkit.errors import Fault
from dbkit.settings.secret import Secret

if TYPE_CHECKING:
    from dotenv.parser import Binding


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A value that refers to a variable which is not set: refused if it is used."""

    missing: str

    @property
    def reason(self) -> str:
        """Why it is refused, as a clause."""
        return f"refers to ${{{self.missing}}}, which is not set; set it, or put a literal value into single quotes"


@dataclass
class Dotenv:
    """The content of a ``.env`` file.

    Attributes:
        variables: its variables by name; those without a value left out.
        unreadable: for each line that cannot be read, its number and the name it seems to give.
        faults: why the file as a whole cannot be read.
    """

    variables: dict[str, str | Unresolved] = field(default_factory=dict)
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def read_text(path: str | os.PathLike[str]) -> tuple[Secret | None, str]:
    """A file's text, wrapped since it may hold secrets; or None and the reason."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            return Secret(file.read()), ""
    except UnicodeDecodeError:
        return None, "it is not UTF-8 text"
    except OSError as error:
        return None, error.strerror or type(error).__name__
    except ValueError:
        return None, "its path holds a NUL character"


def read_dotenv(path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Dotenv:
    """The variables of a ``.env`` file. Only one called ``.env`` may be missing.

    ``${NAME}`` and ``${NAME:-default}`` are replaced, but for values in single quotes, as a shell does.

    Args:
        path: the file; None for none.
        environ: what ``${NAME}`` may refer to besides the file's own variables above it, which are looked at first.
    """
    found = Dotenv()
    if path is None or (os.fspath(path) == ".env" and (not Path(path).exists() or Path(path).is_dir())):
        return found
    text, reason = read_text(path)
    if text is None:
        found.faults.append(Fault("env_file", f"cannot be read: {reason}", os.fspath(path)))
        return found
    from dotenv.parser import parse_stream  # few have such a file

    known: dict[str, str | Unresolved] = dict(environ)
    for binding in parse_stream(io.StringIO(text.reveal())):
        if binding.error:
            found.unreadable.append((_line(binding), _name(binding)))
        elif binding.key is not None and binding.value is not None:
            value = binding.value if _is_literal(binding) else _replaced(binding.value, known)
            known[binding.key] = value
            found.variables.pop(binding.key, None)
            if value:
                found.variables[binding.key] = value
    return found


def _replaced(text: str, known: Mapping[str, str | Unresolved]) -> str | Unresolved:
    from dotenv.variables import Variable, parse_variables

    parts = []
    for atom in parse_variables(text):
        part: str | Unresolved
        if isinstance(atom, Variable):
            missing = Unresolved(atom.name)
            part = known.get(atom.name, missing if atom.default is None else atom.default)
        else:
            part = atom.resolve({})
        if isinstance(part, Unresolved):
            return part
        parts.append(part)
    return "".join(parts)


def _is_literal(binding: Binding) -> bool:
    """Whether the value stands in single quotes, which the parser takes off."""
    _, _, rest = binding.original.string.partition(binding.key or "")
    return rest.partition("=")[2].lstrip().startswith("'")


def _line(binding: Binding) -> int:
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _name(binding: Binding) -> str:
    match = re.match(r"\s*(?:export\s+)?'?(\w+)", binding.original.string)
    return match[1] if match else ""
