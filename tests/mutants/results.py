"""What came of the mutants: kept in a file as it comes in, and summed for each group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .changes import Mutant

NOTICED, SURVIVED, HUNG, UNTRIED = "noticed", "survived", "hung", "untried"
"""A test failed; none did; the tests did not end, which is noticed too; the change could not be put in place."""

SURVIVORS = Path(__file__).with_name("survivors.txt")


@dataclass(frozen=True)
class Result:
    """What came of one mutant: one of the words above, and the test that said so."""

    word: str
    test: str = ""


class Results:
    """What is known so far, by the mutants' names.

    Args:
        file: read at the start, if it exists, and written to as results come in; None for none.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
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


def excused() -> dict[str, str]:
    """The survivors that are known, with their reasons: a line with the name, then an indented line with the reason."""
    lines = [line for line in SURVIVORS.read_text().splitlines() if line and not line.startswith("#")]
    return dict(zip(lines[::2], map(str.strip, lines[1::2]), strict=True))
