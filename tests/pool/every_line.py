"""An exception at every line of what the pool does, one line at a time: ``python -m tests.pool.every_line SCENARIO``.

Says what went wrong, and exits with 1 if anything did.
"""

from __future__ import annotations

import gc
import linecache
import logging
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from dbkit.errors import DbkitError
from dbkit.pool.elastic import ElasticPool
from dbkit.pool.errors import PoolTimeoutError

from .helpers import QUIET, eventually, in_line
from .runtimes import Task, where

_QUIET, _KEPT_OPEN = socket.socketpair()
"""A socket on which nobody ever says anything."""


class Double:
    """A connection without a server behind it, on a socket that stays quiet."""

    closed = 0

    def fileno(self) -> int:
        return _QUIET.fileno()

    def rollback(self) -> None: ...

    def commit(self) -> None: ...

    def close(self) -> None:
        self.closed = 1

    def get_transaction_status(self) -> int:
        return 0


class Thrown(BaseException):
    """Thrown into a thread from outside, as Ctrl-C is."""


ROOMS = ("/dbkit/pool/", "/dbkit/core/", "/dbkit/runtime/")
"""Where an exception is thrown."""


class Everywhere:
    """Raises at the n-th step of whatever runs traced, counting the steps of the pool's own files."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.steps = 0
        self.place = ""

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        name = frame.f_code.co_filename
        if not any(room in name for room in ROOMS) and not name.endswith("contextlib.py"):
            return None
        # Python itself delivers nothing between a lock that was taken and the "try:" that protects it, nor between the
        # end of a "with" block and the release; tracing calls both a line.
        text = linecache.getline(name, frame.f_lineno).strip()
        if event == "line" and text != "try:" and not text.startswith("with self._lock:"):
            self.steps += 1
            if self.steps == self.at:
                self.place = f"{name.rpartition('/')[2]}:{frame.f_lineno} in {frame.f_code.co_name}"
                raise Thrown
        return self.trace


def step_through(prepare: Any) -> list[str]:
    """Run what ``prepare`` returns again and again, with an exception at each line in turn; return what went wrong."""
    wrong: list[str] = []
    for at in range(1, 400):
        run, check = prepare()
        everywhere = Everywhere(at)

        def traced(run: Any = run, everywhere: Everywhere = everywhere) -> None:
            sys.settrace(everywhere.trace)
            try:
                run()
            except (Thrown, DbkitError):
                pass
            finally:
                sys.settrace(None)

        task = Task(traced)
        task.join(20)
        try:
            assert not task.is_alive(), f"it hangs at {where(task)}"
            Task(check).outcome(30)
        except (AssertionError, PoolTimeoutError, DbkitError) as error:
            wrong.append(f"step {at}, {everywhere.place}: {str(error).splitlines()[0]}")
        if not everywhere.place or len(wrong) >= 3:
            assert at > 10, "nothing was hit"
            return wrong
    return wrong


def quick_rest(pool: Any, count: int) -> None:
    """As ``all_can_be_borrowed``, in little time, as most of the times nothing is wrong."""
    if pool.stats().in_use:
        gc.collect()
    eventually(lambda: pool.stats().in_use == 0, 20)
    held = [pool.connect() for _ in range(count)]
    for connection in held:
        connection.close()
    eventually(lambda: pool.stats().idle == count, 20)


Prepared = tuple[Callable[[], object], Callable[[], object]]
"""What is run with an exception in it, and what must be so afterwards."""


def a_borrow_and_a_return() -> Prepared:
    pool = ElasticPool(Double, **QUIET | {"max_size": 2, "timeout": 20})
    pool.connect().close()
    return lambda: pool.connect().close(), lambda: quick_rest(pool, 2)


def a_borrow_that_grows() -> Prepared:
    pool = ElasticPool(Double, **QUIET | {"max_size": 1, "timeout": 20})
    return lambda: pool.connect().close(), lambda: quick_rest(pool, 1)


def an_invalidation() -> Prepared:
    pool = ElasticPool(Double, **QUIET | {"max_size": 1, "timeout": 20})
    pool.connect().close()
    return lambda: pool.connect().invalidate(), lambda: quick_rest(pool, 1)


def a_return_with_a_waiter_in_line() -> Prepared:
    pool = ElasticPool(Double, **QUIET | {"max_size": 1, "timeout": 20, "fair_after": 0})
    held = pool.connect()
    waiter = Task(lambda: pool.connect().close())
    in_line(pool, 1)

    def check() -> None:
        waiter.outcome()  # served, or told within its timeout that it was not: the latter raises
        quick_rest(pool, 1)

    kept = [held]
    del held
    return lambda: kept.pop().close(), check


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (a_borrow_and_a_return, a_borrow_that_grows, an_invalidation, a_return_with_a_waiter_in_line)
}


if __name__ == "__main__":
    sys.unraisablehook = lambda _: None
    logging.disable(logging.CRITICAL)
    wrong = step_through(SCENARIOS[sys.argv[1]])
    print("\n".join(wrong))
    sys.exit(bool(wrong))
