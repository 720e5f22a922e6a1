"""The trial of a group: a pytest plugin that runs the collected tests for each mutant, in a fork."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings

from dbkit.embedded import EmbeddedPostgres
from dbkit.testing import places

from .changes import Mutant
from .in_place import forget_caches, note_what_is_reached, put_in_place
from .results import HUNG, NOTICED, SURVIVED, UNTRIED, Result, Results, Seen

PATIENCE, GRACE = 8, 15
"""A test may take so many times the time that it takes without any change, and so many seconds more."""

SERVER_LIMIT = 200
"""Connections that a server takes, as in the tests' own."""


@dataclass(frozen=True)
class Known:
    """A test, and what was seen of it when it ran without any change."""

    item: pytest.Item
    seen: Seen

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.seen.seconds


@dataclass(frozen=True)
class Child:
    """A fork that tries a mutant.

    Attributes:
        number: the process's.
        mutant: what it tries.
        worker: whose server it has.
        note: where it writes down the test that it runs.
        began: when, by the wall clock, as files' times are.
        limits: seconds that each test may take.
    """

    number: int
    mutant: Mutant
    worker: int
    note: Path
    began: float
    limits: dict[str, float]

    def test(self) -> str:
        """The test that it runs, or ran last."""
        return self.note.read_text() if self.note.exists() else ""

    def is_late(self) -> bool:
        """Whether its test does not end."""
        since = self.note.stat().st_mtime if self.note.exists() else self.began
        return time.time() - since > self.limits.get(self.test(), 4 * GRACE)


class Trial:
    """Runs the tests for each mutant in place of running them once.

    Each worker has a server of its own for the whole trial, which every fork empties first: so nothing that a mutant
    left behind is there for the next.

    Args:
        paths: the group's files.
        mutants: those that are to be tried.
        results: where the results go.
        workers: how many forks run at once.
    """

    def __init__(self, paths: list[str], mutants: list[Mutant], results: Results, workers: int) -> None:
        self._paths = paths
        self._mutants = mutants
        self._results = results
        self._workers = workers
        self._server: EmbeddedPostgres | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """After tests/conftest.py chose its profile, and before the tests read it: no time goes into shrinking."""
        hypothesis_settings.load_profile("mutants")

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Any:
        """Give the fork its worker's server for the one that the fixture would start."""
        if (fixturedef.argname, fixturedef.scope) != ("server", "session") or self._server is None:
            return None
        fixturedef.cached_result = (self._server, fixturedef.cache_key(request), None)  # type: ignore[arg-type]
        return self._server

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run them all; True tells pytest that it is done."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            servers: list[EmbeddedPostgres | None] = [None] * self._workers
            if any("server" in getattr(item, "fixturenames", ()) for item in session.items):
                servers = [stack.enter_context(_start()) for _ in servers]
            self._server = servers[0]
            tests = sorted(self._get_to_know(session, folder), key=lambda test: test.seconds)
            running: list[Child] = []
            for mutant in self._mutants:
                if len(running) == self._workers:
                    self._one_ends(running)
                worker = min(set(range(self._workers)) - {child.worker for child in running})
                self._server = servers[worker]
                running.append(self._send(mutant, worker, tests, folder / f"worker-{worker}"))
            while running:
                self._one_ends(running)
        return True

    def _get_to_know(self, session: pytest.Session, folder: Path) -> list[Known]:
        """Run each test once without any change, if nothing is known of it. Those that fail are told and left out."""
        seen = self._results.seen(session.items, self._paths)
        unseen = [item for item in session.items if item.nodeid not in seen]
        if unseen:
            print(f"{len(unseen)} tests run once ...", flush=True)
            with _fork() as child:
                if child is None:
                    _run_once(unseen, self._paths, self._server, folder / "seen")
            assert child is not None
            os.waitpid(child, 0)
            for line in (folder / "seen").read_text().splitlines():
                one = Seen(**json.loads(line))
                seen[one.test] = one
            self._results.keep_seen(seen)
        for item in session.items:
            if item.nodeid not in seen:
                print(f"left out, for it fails without any change: {item.nodeid}", flush=True)
        known = [Known(item, seen[item.nodeid]) for item in session.items if item.nodeid in seen]
        for slow in sorted(known, key=lambda test: -test.seconds)[:5]:
            print(f"{slow.seconds:6.1f} s: {slow.item.nodeid}", flush=True)
        return known

    def _send(self, mutant: Mutant, worker: int, tests: list[Known], note: Path) -> Child:
        """Have a fork try a mutant."""
        theirs = [test for test in tests if mutant.function.label in test.seen.reaches]
        note.unlink(missing_ok=True)
        with _fork() as child:
            if child is None:
                _try(mutant, theirs, self._server, note)
        assert child is not None
        limits = {test.item.nodeid: GRACE + PATIENCE * test.seconds for test in theirs}
        return Child(child, mutant, worker, note, time.time(), limits)

    def _one_ends(self, running: list[Child]) -> None:
        """Wait for a child, or end one that takes too long, and keep what came of it."""
        while True:
            for child in running:
                ended, status = os.waitpid(child.number, os.WNOHANG)
                late = not ended and child.is_late()
                if late:
                    os.kill(child.number, signal.SIGKILL)
                    os.waitpid(child.number, 0)
                if ended or late:
                    running.remove(child)
                    _end_the_rest(child.number)
                    word = HUNG if late else _word(status)
                    self._results.add(child.mutant, Result(word, child.test() if word in (NOTICED, HUNG) else ""))
                    if word != NOTICED:
                        print(f"{word}: {child.mutant.name}", flush=True)
                    return
            time.sleep(0.02)


def _start() -> EmbeddedPostgres:
    return EmbeddedPostgres.start(
        settings={"max_connections": SERVER_LIMIT}, temp_dir=places.memory_folder(), timeout=180
    )


@contextmanager
def _fork() -> Iterator[int | None]:
    """In the parent the child's number, in the child None. The child ends with the block, with status 2."""
    sys.stdout.flush()
    child = os.fork()
    if child != 0:
        yield child
        return
    try:
        os.setpgid(0, 0)  # so that what it started can be ended with it
        silence = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(silence, number)
        yield None
    finally:
        os._exit(2)


def _word(status: int) -> str:
    """What the way in which a fork ended says."""
    if os.WIFSIGNALED(status):  # SIGKILL: it used up its processor time
        return HUNG if os.WTERMSIG(status) == signal.SIGKILL else NOTICED
    return (SURVIVED, NOTICED, UNTRIED)[os.WEXITSTATUS(status)]


def _end_the_rest(group: int) -> None:
    """End what a fork left running."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _try(mutant: Mutant, tests: list[Known], server: EmbeddedPostgres | None, note: Path) -> None:
    """In a fork: run the tests, quickest first, until one fails, and fails again. Ends the process."""
    if server is not None:
        _empty(server)
    put_in_place(mutant)
    status = 0
    try:
        for number, test in enumerate(tests):
            note.write_text(test.item.nodeid)
            following = tests[number + 1].item if number + 1 < len(tests) else None
            if _fails(test.item, following) and _fails(test.item, following):  # once may be the busy machine's doing
                status = 1
                break
    except BaseException:
        status = 1
        raise
    finally:
        os._exit(status)


def _run_once(items: list[pytest.Item], paths: list[str], server: EmbeddedPostgres | None, file: Path) -> None:
    """In a fork: run all tests; write down of each that passes how long it took, and what it reached."""
    if server is not None:
        _empty(server)
    reached = note_what_is_reached(paths)
    for number, item in enumerate(items):
        forget_caches(paths)
        reached.clear()
        began = time.monotonic()
        failed = _fails(item, items[number + 1] if number + 1 < len(items) else None)
        took = time.monotonic() - began
        if not failed:
            seen = {"test": item.nodeid, "seconds": took, "reaches": [function.label for function in reached.found()]}
            with file.open("a") as found:
                found.write(json.dumps(seen) + "\n")


def _fails(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Run a test; whether it fails."""
    before = item.session.testsfailed
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return item.session.testsfailed > before


def _empty(server: EmbeddedPostgres) -> None:
    """Take away what tests left on a server: it is as new."""
    for (name,) in server.execute("SELECT datname FROM pg_database WHERE oid >= 16384"):
        server.drop_database(name)
    for (name,) in server.execute("SELECT quote_ident(rolname) FROM pg_roles WHERE oid >= 16384"):
        server.execute(f"DROP ROLE {name}")
