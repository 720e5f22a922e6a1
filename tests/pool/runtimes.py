"""On what a test of the pool runs: threads, or an event loop. A body that needs neither is written once.

A test marked ``on_each_runtime`` runs once on each. On a loop its body, which is synchronous, runs in a greenlet of a
task, as the pool's own code does: what waits by the names below lets the loop turn. Outside of greenlets the same names
mean threads.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from dbkit.pool.elastic import ElasticPool
from dbkit.pool.elastic_asyncio import AsyncElasticPool

PATIENCE = 60.0
"""Seconds until a condition that should have come true counts as a failure."""

THREADS = "threads"
"""The runtime of threads; those of a loop are called by their driver."""

_driver = "psycopg2"
"""The driver of what this test opens. No context variable: jobs of the pool have contexts of their own."""


def driver_here() -> str:
    """The driver of what this test opens."""
    return _driver


def on(*runtimes: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A mark: the test runs on each of these runtimes."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        import pytest  # which the programs that tests start, and that use what else is here, need not load

        return pytest.mark.usefixtures("runtime")(pytest.mark.parametrize("runtime", runtimes, indirect=True)(test))

    return mark


on_each_runtime = on(THREADS, "psycopg", "asyncpg")
"""For bodies in which the driver has a part: what is opened, looked at, put in order, found dead, closed."""

on_both = on(THREADS, "psycopg")
"""For bodies in which the driver has no part, or which go by the errors of libpq's drivers."""


def run_body(runtime: str, body: Callable[[], None]) -> None:
    """Run the body of a test on this runtime."""
    if runtime == THREADS:
        body()
        return

    with driver(runtime), loop_runner() as run:
        run(greenlet_spawn(body))


@contextmanager
def driver(name: str) -> Iterator[None]:
    """Within the block this is the driver of what is opened."""
    global _driver
    before, _driver = _driver, name
    try:
        yield
    finally:
        _driver = before


@contextmanager
def loop_runner(
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """A function that runs coroutines on one event loop, whose errors nobody retrieved fail the test."""
    complaints: list[Any] = []
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        yield runner.run
    assert not complaints, complaints


def pool_class() -> type[ElasticPool] | type[AsyncElasticPool]:
    """The pool of this runtime."""
    return AsyncElasticPool if in_greenlet() else ElasticPool


def sleep(seconds: float) -> None:
    """Let others work meanwhile."""
    if in_greenlet():
        await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def expect_complaints() -> None:
    """Of errors in callbacks, which a loop tells of by its handler, and the clock's thread by its log."""
    if in_greenlet():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)


def done(found: Any) -> Any:
    """What an operation of the pool returned; on a loop, where it is a coroutine, it is awaited."""
    return await_only(found) if inspect.isawaitable(found) else found


def name_here() -> str:
    """The name of the running thread or task, as the pool tells it of a holder."""
    if in_greenlet():
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()
    return threading.current_thread().name


class Flag(threading.Event):
    """An event that tasks can wait for, too."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set. False if it was not, within ``timeout``."""
        if not in_greenlet():
            return super().wait(timeout)
        deadline = time.monotonic() + (PATIENCE if timeout is None else timeout)
        while not self.is_set() and time.monotonic() < deadline:
            sleep(0.001)
        return self.is_set()


class Task:
    """Work beside the test's: a daemon thread, or a task. Keeps what its function returned or raised."""

    def __init__(self, work: Callable[..., Any], *arguments: Any, name: str | None = None) -> None:
        self._work = work
        self._given = arguments
        self.result: Any = None
        self.error: BaseException | None = None
        self._carrier: threading.Thread | asyncio.Task[None]
        if in_greenlet():
            self._carrier = asyncio.get_running_loop().create_task(greenlet_spawn(self.run), name=name)
        else:
            self._carrier = threading.Thread(target=self.run, name=name, daemon=True)
            self._carrier.start()

    def run(self) -> None:
        """Do it, where it is carried."""
        try:
            self.result = done(self._work(*self._given))
        except BaseException as error:
            self.error = error

    @property
    def name(self) -> str:
        return self._carrier.name if isinstance(self._carrier, threading.Thread) else self._carrier.get_name()

    @property
    def ident(self) -> int | None:
        """The number that the pool knows it by."""
        return self._carrier.ident if isinstance(self._carrier, threading.Thread) else id(self._carrier)

    def is_alive(self) -> bool:
        return self._carrier.is_alive() if isinstance(self._carrier, threading.Thread) else not self._carrier.done()

    def join(self, seconds: float | None = None) -> None:
        """Wait until it has ended."""
        if isinstance(self._carrier, threading.Thread):
            self._carrier.join(seconds)
        else:
            await_only(asyncio.wait([self._carrier], timeout=seconds))

    def outcome(self, seconds: float = PATIENCE) -> Any:
        """Return what the function returned, or raise what it raised."""
        self.join(seconds)
        assert not self.is_alive(), f"{self.name} still runs after {seconds:g} s, at {where(self)}"
        if self.error is not None:
            raise self.error
        return self.result


def where(thread: threading.Thread | Task) -> str:
    """Return the innermost place a thread is at."""
    frame = sys._current_frames().get(thread.ident or 0)
    return f"{frame.f_code.co_qualname}:{frame.f_lineno}" if frame else "its end"


def asleep(thread: threading.Thread | Task) -> bool:
    """Whether a thread waits for an event or a condition."""
    return where(thread).startswith("Condition.wait:")
