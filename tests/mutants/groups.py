"""The groups: files that are changed, and the tests that should notice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from .changes import Mutant, mutants_of


@dataclass(frozen=True)
class Group:
    """Files and their tests.

    Attributes:
        name: the group's.
        files: the files that are changed, or folders of them.
        tests: files of tests, or folders. Which of these reach a function is found by running them once.
        without: files and tests among them that are left out.
    """

    name: str
    files: tuple[str, ...]
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()

    def paths(self) -> list[str]:
        """The files that are changed."""
        found = [str(file) for name in self.files for file in _files(Path(name))]
        return [path for path in found if path not in self.without]

    def mutants(self, most: int | None) -> list[Mutant]:
        """All mutants of the group, or a sample.

        A mutant's place in the sample depends on its name alone: changes elsewhere do not change the sample, and a
        larger one holds the smaller.
        """
        found = [mutant for path in self.paths() for mutant in mutants_of(path)]
        if most is None or most >= len(found):
            return found
        drawn = {mutant.name for mutant in sorted(found, key=_lot)[:most]}
        return [mutant for mutant in found if mutant.name in drawn]


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def _lot(mutant: Mutant) -> bytes:
    return hashlib.sha256(mutant.name.encode()).digest()


ASYNCIO = (
    *(f"dbkit/runtime/{name}.py" for name in ("loop", "loop_clock", "tasks")),
    "dbkit/pool/elastic_asyncio.py",
    "dbkit/session/asyncio.py",
    *(f"dbkit/drivers/{name}.py" for name in ("asyncpg", "asyncpg_params", "psycopg_asyncio")),
)

SLOW = (
    *(f"tests/pool/test_{name}.py" for name in ("leak_soak", "pool_stress", "failover", "writer_guard")),
    "tests/pool/test_outage_manners.py",
)
"""Tests with servers of their own, and tests that take long on purpose."""

USES_OF_THE_RUNTIME = (
    *(f"tests/pool/test_{name}.py" for name in ("interrupt", "interrupting", "leaks", "slots_on_doubles", "own_call")),
    *(f"tests/session/test_{name}.py" for name in ("deadlines", "frozen_server")),
    *(f"tests/credentials/test_{name}.py" for name in ("pace", "aws")),
    "tests/drivers/test_bounded.py",
)
"""Tests of what only shows where it is used: waits with an end, Ctrl-C, deadlines, stacks, addresses, certificates."""

USES_OF_THE_LOOP = (
    *(f"tests/runtime/test_{name}.py" for name in ("loop", "loop_clock", "loop_tasks")),
    *(f"tests/drivers/test_{name}.py" for name in ("asyncpg_params", "asyncpg_hosts")),
    *(f"tests/pool/test_{name}.py" for name in ("reset", "rebuilt", "pause", "pool_close", "operations", "leaks")),
    *(f"tests/pool/test_{name}.py" for name in ("pool_events", "dead_connections", "line", "jobs", "observer")),
    "tests/pool/test_engine_arguments.py",
)
"""Tests of the parts, and those of the pool that run on a loop, too."""

GROUPS = (
    Group("core", ("dbkit/core",), ("tests/core",)),
    Group("runtime", ("dbkit/runtime",), ("tests/runtime", *USES_OF_THE_RUNTIME), ASYNCIO),
    Group("pool", ("dbkit/pool",), ("tests/pool",), (*ASYNCIO, *SLOW)),
    Group("session", ("dbkit/session",), ("tests/session", "tests/query", "tests/manager/test_scopes.py"), ASYNCIO),
    Group("drivers", ("dbkit/drivers",), ("tests/drivers", "tests/session", "tests/query"), ASYNCIO),
    Group("asyncio", ASYNCIO, ("tests/aio", *USES_OF_THE_LOOP)),
)
