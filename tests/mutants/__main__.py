"""Changes one line at a time and asks the tests: ``make mutants``, or ``python -m tests.mutants pool --most 150``.

The tests of a group run once, to see which functions each reaches and how long it takes. For each mutant the process
forks; the child puts the changed code into the function and runs the tests that reach it, quickest first, until one
fails. So a mutant costs what its tests cost, and no file of the project is written. A mutant that no test notices has
*survived*: it is either a missing test, or stands in ``survivors.txt`` with the reason why it does not matter.

Tests that need a server find one that runs for the whole trial. ``--resume FILE`` keeps the results as they come in:
the same command goes on where it was stopped, and with ``--again`` it tries those once more that no test noticed.
On two processors that others used as well, 120 mutants of pool took 17 minutes with 4 workers, 160 of the runtime 13
minutes with 2, all 914 of core 18 minutes with one.

Results are known by the text of the change; after changes to the code or the tests, begin with a new file.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings

from .groups import GROUPS
from .results import Results
from .trial import Trial

LEFT_OUT = ("xdist", "cacheprovider", "pytest_alembic", "faulthandler")
ALONE = [*(f"-pno:{name}" for name in LEFT_OUT), "-oaddopts=", "--capture=no"]
"""How pytest runs: nothing beside it, no options of the project."""


def main() -> int:
    """Try the mutants that were asked for; 1 if one survived without an excuse."""
    names = [group.name for group in GROUPS]
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(names)}; all if none is named")
    parser.add_argument("--files", nargs="*", default=[""], metavar="PART", help="only files whose path contains this")
    parser.add_argument("--tests", nargs="*", metavar="FILE", help="ask these tests, not all of the group's")
    parser.add_argument("--most", type=int, metavar="N", help="a sample of so many of each group, always the same")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep the results here; try what is missing")
    parser.add_argument("--again", action="store_true", help="try those in FILE again that no test noticed")
    parser.add_argument("--list", action="store_true", help="only say which there are")
    asked = parser.parse_args()
    if unknown := set(asked.groups) - set(names):
        parser.error(f"there is no group {', '.join(sorted(unknown))}: choose from {', '.join(names)}")
    groups = [group for group in GROUPS if group.name in (asked.groups or names)]
    chosen = {
        group: [
            mutant for mutant in group.mutants(asked.most) if any(part in mutant.function.path for part in asked.files)
        ]
        for group in groups
    }
    if asked.list:
        print("\n".join(mutant.name for mutants in chosen.values() for mutant in mutants))
        return 0
    hypothesis_settings.register_profile(
        "mutants", deadline=None, phases=[Phase.generate], derandomize=True, database=None
    )
    began, results = time.monotonic(), Results(asked.resume)
    for group, mutants in chosen.items():
        if missing := results.missing(mutants, again=asked.again):
            print(f"{group.name}: {len(missing)} mutants", flush=True)
            without = [f"--ignore={name}" for name in group.without if name.startswith("tests/")]
            trial = Trial(group.paths(), missing, results, asked.workers)
            rewriting = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # the second group finds modules imported
            pytest.main(
                ["-q", "--no-header", *ALONE, *rewriting, *without, *(asked.tests or group.tests)], plugins=[trial]
            )
    print(f"\nin {time.monotonic() - began:.0f} s")
    unexcused: list[str] = []
    for group, mutants in chosen.items():
        line, names = results.sums(group.name, mutants)
        print(line)
        unexcused += names
    for name in unexcused:
        print(f"  survived: {name}")
    return int(bool(unexcused))


if __name__ == "__main__":
    sys.exit(main())
