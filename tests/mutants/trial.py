"""The trial of a group: a pytest plugin that runs the collected tests for each mutant, in a fork."""

from __future__ import annotations

import os
import pickle
import resource
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

from .changes import Function, Mutant
from .in_place import forget_caches, note_what_is_reached, put_in_place
from .results import HUNG, NOTICED, SURVIVED, UNTRIED, Result, Results

PATIENCE, GRACE = 8, 15
"""A test may take so many times the time that it takes without any change, and so many seconds more."""

BOUND = 60
"""Seconds for a test without any change."""

SERVER_LIMIT = 200
"""Connections that a server takes, as in the tests' own."""


@dataclass(frozen=True)
class Known:
    """What is known of a test: how long it takes without any change, and the functions that it reaches."""

    item: pytest.Item
    seconds: float
    reaches: frozenset[str]


@dataclass(frozen=True)
class Child:
    """A fork that tries a mutant, and when it is to be ended."""

    mutant: Mutant
    worker: int
    ends: float


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
        if fixturedef.argname != "server" or self._server is None:
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
            known = self._get_to_know(session, folder / "known")
            running: dict[int, Child] = {}
            waiting = list(reversed(self._mutants))
            while waiting or running:
                free = set(range(self._workers)) - {child.worker for child in running.values()}
                if not waiting or not free:
                    self._one_ends(running, folder)
                    continue
                mutant, worker = waiting.pop(), free.pop()
                tests = [test for test in known if _label(mutant.function) in test.reaches]
                self._server = servers[worker]
                bound = 4 * GRACE + PATIENCE * sum(test.seconds for test in tests)
                with _fork() as child:
                    if child is None:
                        _try(mutant, tests, self._server, folder / str(worker), int(bound))
                assert child is not None
                running[child] = Child(mutant, worker, time.monotonic() + bound)
        return True

    def _get_to_know(self, session: pytest.Session, file: Path) -> list[Known]:
        """Run each test once without any change. Those that fail are told and left out."""
        print(f"{len(session.items)} tests run once ...", flush=True)
        with _fork() as child:
            if child is None:
                _run_once(session, self._paths, self._server, file)
        assert child is not None
        os.waitpid(child, 0)
        if not file.exists():
            raise pytest.UsageError("the tests did not end without any change")
        with file.open("rb") as found:
            seen: list[tuple[float, set[str]] | None] = pickle.load(found)
        for item, one in zip(session.items, seen, strict=True):
            if one is None:
                print(f"left out, for it fails without any change: {item.nodeid}", flush=True)
        known = [Known(item, one[0], frozenset(one[1])) for item, one in zip(session.items, seen, strict=True) if one]
        for slow in sorted(known, key=lambda test: -test.seconds)[:5]:
            print(f"{slow.seconds:6.1f} s: {slow.item.nodeid}", flush=True)
        return sorted(known, key=lambda test: test.seconds)

    def _one_ends(self, running: dict[int, Child], folder: Path) -> None:
        """Wait for a child, or end one that takes too long, and keep what came of it."""
        while True:
            for number, child in list(running.items()):
                ended, status = os.waitpid(number, os.WNOHANG)
                late = not ended and time.monotonic() > child.ends
                if late:
                    os.kill(number, signal.SIGKILL)
                    os.waitpid(number, 0)
                if not ended and not late:
                    continue
                del running[number]
                _end_the_rest(number)
                note = folder / str(child.worker)
                test = note.read_text() if note.exists() else ""
                note.unlink(missing_ok=True)
                word = HUNG if late else _word(status)
                self._results.add(child.mutant, Result(word, test if word in (NOTICED, HUNG) else ""))
                if word != NOTICED:
                    print(f"{word}: {child.mutant.name}", flush=True)
                return
            time.sleep(0.01)


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


def _try(mutant: Mutant, tests: list[Known], server: EmbeddedPostgres | None, note: Path, bound: int) -> None:
    """In a fork: run the tests, quickest first, until one fails. Ends the process."""
    if server is not None:
        _empty(server)
    resource.setrlimit(resource.RLIMIT_CPU, (bound, bound))
    put_in_place(mutant)
    status = 0
    try:
        for number, test in enumerate(tests):
            note.write_text(test.item.nodeid)
            test.item.add_marker(pytest.mark.timeout(GRACE + PATIENCE * test.seconds))
            following = tests[number + 1].item if number + 1 < len(tests) else None
            _run(test.item, following)
            if test.item.session.testsfailed:
                status = 1
                break
    except BaseException:
        status = 1
        raise
    finally:
        os._exit(status)


def _run_once(session: pytest.Session, paths: list[str], server: EmbeddedPostgres | None, file: Path) -> None:
    """In a fork: run all tests; write down of each how long it took and what it reached, None if it failed."""
    if server is not None:
        _empty(server)
    reached = note_what_is_reached(paths)
    seen: list[tuple[float, set[str]] | None] = []
    for number, item in enumerate(session.items):
        forget_caches(paths)
        reached.clear()
        item.add_marker(pytest.mark.timeout(BOUND))
        failed, began = session.testsfailed, time.monotonic()
        _run(item, session.items[number + 1] if number + 1 < len(session.items) else None)
        took = time.monotonic() - began
        seen.append((took, {_label(function) for function in list(reached)}) if session.testsfailed == failed else None)
    with file.with_suffix(".part").open("wb") as found:
        pickle.dump(seen, found)
    file.with_suffix(".part").rename(file)


def _run(item: pytest.Item, following: pytest.Item | None) -> None:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _empty(server: EmbeddedPostgres) -> None:
    """Take away what tests left on a server: it is as new."""
    for (name,) in server.execute("SELECT datname FROM pg_database WHERE oid >= 16384"):
        server.drop_database(name)
    for (name,) in server.execute("SELECT quote_ident(rolname) FROM pg_roles WHERE oid >= 16384"):
        server.execute(f"DROP ROLE {name}")


def _label(function: Function) -> str:
    return f"{function.path} {function.name} {function.line}"
