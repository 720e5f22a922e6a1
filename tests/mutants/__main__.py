"""Changes one line at a time and asks the tests: ``make mutants``, or ``python -m tests.mutants --files ledger``.

The tests of a group are collected once. For each mutant the process forks; the child puts the changed code into the
function and runs the tests, quickest first, until one fails. So a mutant costs what its tests cost, and nothing is
written anywhere. A mutant that no test notices has *survived*: it is either a missing test, or stands in
``survivors.txt`` with the reason why it does not matter.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import time
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings

from .changes import Mutant, mutants_of

CORE_TESTS = [f"tests/core/test_{name}.py" for name in ("ledger", "line", "returning", "growing", "generations")] + [
    f"tests/core/test_{name}.py" for name in ("operations", "upkeep", "stats", "ledger_machine")
]
NARROWEST = {
    "dbkit/core/ledger.py": CORE_TESTS,
    "dbkit/core/matching.py": CORE_TESTS,
    "dbkit/core/operations.py": CORE_TESTS,
    "dbkit/core/reconnecting.py": ["tests/core/test_reconnecting.py"],
    "dbkit/core/borrowing.py": ["tests/core/test_borrowing.py"],
    "dbkit/core/schedule.py": ["tests/core/test_schedule.py"],
    "dbkit/core/stats.py": ["tests/core/test_stats.py"],
    "dbkit/core/policy.py": ["tests/core/test_policy.py", "tests/core/test_policy_text.py"],
    "dbkit/runtime/background.py": ["tests/runtime/test_clock.py"],
    "dbkit/runtime/threads.py": ["tests/runtime/test_threads.py"],
    "dbkit/runtime/bell.py": ["tests/runtime/test_threads.py"],
    "dbkit/runtime/locks.py": ["tests/runtime/test_threads.py"],
    "dbkit/runtime/forks.py": ["tests/runtime/test_forks.py"],
}
"""The tests that should notice a change to a file, the quickest first. Files whose tests need a server are not here: a
mutant of theirs would cost a server's start."""

PATIENCE = 5
"""The tests of a mutant may take so many times the processor time that they take without any change."""

SURVIVORS = Path(__file__).with_name("survivors.txt")
NOTICED, SURVIVED, HUNG = "noticed", "survived", "hung"


class Trial:
    """A pytest plugin: in place of running the collected tests once it runs them for each mutant, in a fork."""

    def __init__(self, mutants: list[Mutant], workers: int) -> None:
        self.mutants = mutants
        self.workers = workers
        self.found: dict[str, str] = {}
        self.seconds = 3600
        """Seconds of processor time until the tests count as hung."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run them all; True tells pytest that it is done."""
        _, status, used = os.wait4(self.start(session, None), 0)
        if status != 0:
            raise pytest.UsageError("the tests fail without any change")
        self.seconds = PATIENCE * (1 + int(used.ru_utime + used.ru_stime))
        running: dict[int, Mutant] = {}
        for mutant in self.mutants:
            if len(running) == self.workers:
                self.one_ends(running)
            running[self.start(session, mutant)] = mutant
        while running:
            self.one_ends(running)
        return True

    def start(self, session: pytest.Session, mutant: Mutant | None) -> int:
        """Fork; return the child's number. The child ends with status 1 if a test fails."""
        sys.stdout.flush()
        if (child := os.fork()) != 0:
            return child
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (self.seconds, self.seconds))  # ends the process
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            if mutant is not None:
                put_in_place(mutant)
            for number, item in enumerate(session.items):
                following = session.items[number + 1] if number + 1 < len(session.items) else None
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    break
            status = int(session.testsfailed > 0)
        finally:
            os._exit(status)

    def one_ends(self, running: dict[int, Mutant]) -> None:
        """Wait for a child, and note what came of it."""
        child, status = os.wait()
        mutant = running.pop(child)
        result = SURVIVED if status == 0 else HUNG if os.WIFSIGNALED(status) else NOTICED
        self.found[mutant.name] = result
        if result != NOTICED:
            print(f"{result}: {mutant.name}", flush=True)


def put_in_place(mutant: Mutant) -> None:
    """Give the function its changed code, wherever it was imported to."""
    owner: object = import_module(mutant.path.removesuffix(".py").replace("/", "."))
    *classes, name = mutant.function.split(".")
    for inner in classes:
        owner = getattr(owner, inner)
    function = vars(owner)[name]
    function = getattr(function, "fget", None) or getattr(function, "__func__", function)
    assert isinstance(function, FunctionType)
    function.__code__ = mutant.code()


def excused() -> dict[str, str]:
    """The survivors that are known, with their reasons: a line with the name, then an indented line with the reason."""
    lines = [line for line in SURVIVORS.read_text().splitlines() if line and not line.startswith("#")]
    return dict(zip(lines[::2], map(str.strip, lines[1::2]), strict=True))


def main() -> int:
    """Try the mutants that were asked for; 1 if one survived without an excuse."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("--files", nargs="*", default=[""], metavar="PART", help="only files whose path contains this")
    parser.add_argument("--most", type=int, metavar="N", help="a sample of so many, always the same")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="only say which there are")
    asked = parser.parse_args()
    paths = [path for path in NARROWEST if any(part in path for part in asked.files)]
    mutants = [mutant for path in paths for mutant in mutants_of(path)]
    if asked.most is not None and asked.most < len(mutants):
        kept = set(random.Random(7).sample(range(len(mutants)), asked.most))
        mutants = [mutant for number, mutant in enumerate(mutants) if number in kept]
    if asked.list:
        print("\n".join(mutant.name for mutant in mutants))
        return 0
    hypothesis_settings.register_profile(
        "mutants", deadline=None, phases=[Phase.generate], derandomize=True, database=None
    )
    hypothesis_settings.load_profile("mutants")
    began, excuses, found = time.monotonic(), excused(), {}
    for tests in {tuple(NARROWEST[path]): None for path in paths}:
        theirs = [mutant for mutant in mutants if tuple(NARROWEST[mutant.path]) == tests]
        trial = Trial(theirs, asked.workers)
        if trial.mutants:
            alone = ["-p", "no:xdist", "-p", "no:cacheprovider", f"--confcutdir={Path(tests[0]).parent}"]
            pytest.main(
                ["-q", "--no-header", *alone, "-o", "addopts=", "-o", "filterwarnings=", *tests], plugins=[trial]
            )
            found.update(trial.found)
    survived = [name for name, result in found.items() if result == SURVIVED]
    unexcused = [name for name in survived if name not in excuses]
    noticed = len(found) - len(survived)
    print(f"\n{noticed} of {len(mutants)} noticed ({noticed / max(1, len(mutants)):.0%}), "
          f"{len(survived) - len(unexcused)} excused, in {time.monotonic() - began:.0f} s")  # fmt: skip
    for name in unexcused:
        print(f"  survived: {name}")
    return int(bool(unexcused) or len(found) < len(mutants))


if __name__ == "__main__":
    sys.exit(main())
