"""What came of the mutants, and what was seen of the tests: kept in files as it comes in, and summed for each group."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from .changes import Mutant

NOTICED, SURVIVED, HUNG, UNTRIED = "noticed", "survived", "hung", "untried"
"""A test failed; none did; the tests did not end, which is noticed too; the change could not be put in place."""

SURVIVORS = Path(__file__).with_name("survivors.txt")


@dataclass(frozen=True)
class Result:
    """What came of one mutant: one of the words above, and the test that said so."""

    word: str
    test: str = ""


@dataclass(frozen=True)
class Seen:
    """What was seen of a test that ran without any change.

    Attributes:
        test: its name.
        seconds: how long it took.
        reaches: the labels of the functions that it reached.
        of: a digest of the test's file and of the group's.
    """

    test: str
    seconds: float
    reaches: list[str]
    of: str = ""


class Results:
    """What is known so far, by the mutants' names.

    Args:
        file: read at the start, if it exists, and written to as results come in; None for none. Beside it goes another,
            with what was seen of the tests.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._tests = None if file is None else file.with_name(f"{file.name}.tests")
        self._of: dict[str, str] = {}
        self._found: dict[str, Result] = {}
        if file is not None and file.exists():
            for line in file.read_text().splitlines():
                word, name, test = line.split("\t")
                self._found[name] = Result(word, test)

    def add(self, mutant: Mutant, result: Result) -> None:
        """Keep a result. Of two for the same mutant the later one counts."""
        self._found[mutant.name] = result
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(f"{result.word}\t{mutant.name}\t{result.test}\n")

    def seen(self, items: Iterable[pytest.Item], paths: list[str]) -> dict[str, Seen]:
        """What was seen of these tests, by their names, as far as neither their files nor these were changed since."""
        self._of = {item.nodeid: _digest([*paths, str(item.path)]) for item in items}
        if self._tests is None or not self._tests.exists():
            return {}
        found = [Seen(**json.loads(line)) for line in self._tests.read_text().splitlines()]
        return {seen.test: seen for seen in found if seen.of == self._of.get(seen.test)}

    def keep_seen(self, seen: Mapping[str, Seen]) -> None:
        """Keep what was seen of tests, for the next time."""
        if self._tests is not None:
            lines = [json.dumps(asdict(replace(one, of=self._of[one.test]))) + "\n" for one in seen.values()]
            with self._tests.open("a") as file:
                file.writelines(lines)

    def missing(self, mutants: Iterable[Mutant], *, again: bool) -> list[Mutant]:
        """Those that were not tried yet; with ``again``, those that no test noticed too."""
        known = {name for name, result in self._found.items() if not again or result.word in (NOTICED, HUNG)}
        return [mutant for mutant in mutants if mutant.name not in known]

    def sums(self, group: str, mutants: list[Mutant]) -> tuple[str, list[str]]:
        """One line about a group, and the names of those that survived without an excuse or could not be tried."""
        words = {mutant.name: self._found[mutant.name].word for mutant in mutants if mutant.name in self._found}
        noticed = sum(word in (NOTICED, HUNG) for word in words.values())
        left = [name for name, word in words.items() if word in (SURVIVED, UNTRIED)]
        excuses = excused()
        line = (
            f"{group:8} {noticed:4} of {len(words):4} noticed ({noticed / max(1, len(words)):.0%}), "
            f"{sum(word == HUNG for word in words.values())} of them by not ending; "
            f"{sum(name in excuses for name in left)} excused, {len(mutants) - len(words)} not tried"
        )
        return line, [name for name in left if name not in excuses]


@cache
def _text(path: str) -> bytes:
    return Path(path).read_bytes()


def _digest(paths: list[str]) -> str:
    return hashlib.sha256(b"".join(map(_text, paths))).hexdigest()


def excused() -> dict[str, str]:
    """The survivors that are known, with their reasons: a line with the name, then an indented line with the reason."""
    lines = [line for line in SURVIVORS.read_text().splitlines() if line and not line.startswith("#")]
    return dict(zip(lines[::2], map(str.strip, lines[1::2]), strict=True))
