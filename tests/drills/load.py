"""Threads that use a pool all the time, and what became of each turn."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final, Literal

from dbkit import CommitOutcomeUnknown
from dbkit.drivers import sqlstate_of

from ..pool.helpers import Task, eventually
from .canary import seen
from .entrants import Entrant

End = Literal["ok", "borrow", "statement", "commit"]

THINKS: Final = 0.005
"""Seconds a thread does something else between two turns: errors are counted at the pace of a busy program."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One transaction.

    Attributes:
        number: its own.
        began: when its thread asked for a connection, on the monotonic clock.
        waited: seconds until it had one, or was told.
        ended: when it was over.
        end: ``ok``, or where it failed.
        error: what it failed by.
        code: its SQLSTATE, where the server gave one.
        pid: the server's process that its connection was to; 0 for none.
        port: the server's.
    """

    number: int
    began: float
    waited: float
    ended: float
    end: End
    error: BaseException | None = None
    code: str | None = None
    pid: int = 0
    port: int = 0


class Load:
    """So many threads, each one turn after the other until ``stop``. Every turn is kept.

    Args:
        entrant: the pool.
        threads: how many.
        sql: the statement of a turn, by the turn's number.
    """

    def __init__(self, entrant: Entrant, threads: int, sql: Callable[[int], str] = lambda _: "SELECT 1") -> None:
        self._entrant = entrant
        self._sql = sql
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._gate = threading.Event()
        self._gate.set()
        self._at_the_gate = [False] * threads
        self.turns: list[Turn] = []
        self._done = [0] * threads
        self._tasks = [Task(self._work, me, name=f"drill-{me}") for me in range(threads)]

    def _work(self, me: int) -> None:
        while not self._stop.is_set():
            self._at_the_gate[me] = True
            self._gate.wait()
            self._at_the_gate[me] = False
            turn = self._turn(next(self._numbers))
            self.turns.append(turn)
            self._done[me] += turn.end == "ok"
            self._stop.wait(THINKS)

    def _turn(self, number: int) -> Turn:
        entrant, began, waited = self._entrant, monotonic(), None
        end: End = "borrow"
        handle = failure = None
        pid = port = 0
        try:
            handle = entrant.borrow()
            waited, end = monotonic() - began, "statement"
            info = entrant.driver_connection(handle).info
            pid, port = info.backend_pid, info.port
            entrant.execute(handle, self._sql(number))
            end = "commit"
            entrant.commit(handle)
            end = "ok"
        except Exception as error:
            seen(error)
            failure = error.with_traceback(None)
        finally:
            if handle is not None:
                entrant.give_back(handle)
        ended = monotonic()
        code = sqlstate_of(getattr(failure, "orig", None) or failure) if failure else None
        return Turn(number, began, ended - began if waited is None else waited, ended, end, failure, code, pid, port)

    def goes_on(self, turns: int = 3, seconds: float = 60) -> None:
        """Wait until every thread was served so many times more."""
        before = self._done.copy()
        eventually(lambda: all(now >= then + turns for now, then in zip(self._done, before, strict=True)), seconds)

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Within the block no turn is under way: all connections are idle."""
        self._gate.clear()
        try:
            eventually(lambda: all(self._at_the_gate))
            yield
        finally:
            self._gate.set()

    def stop(self) -> None:
        """End it. Fails if a thread does not come to an end: somebody waits unanswered."""
        self._stop.set()
        for task in self._tasks:
            task.outcome()

    # ---- what became of it

    def ends(self, *, since: float = 0.0) -> Counter[str]:
        """How many turns ended how, of those that began since then."""
        return Counter(turn.end for turn in self.turns if turn.began >= since)

    def failures(self, end: End | None = None) -> list[Turn]:
        """The turns that failed, there or anywhere."""
        return [turn for turn in self.turns if turn.end != "ok" and end in (None, turn.end)]

    def first_success(self, *, since: float) -> Turn:
        """The turn that succeeded first after this moment."""
        return min(
            (turn for turn in self.turns if turn.end == "ok" and turn.ended > since), key=lambda turn: turn.ended
        )

    def unknown_commits(self) -> list[Turn]:
        """The turns whose commit has no known outcome."""
        return [turn for turn in self.turns if isinstance(turn.error, CommitOutcomeUnknown)]

    def longest_wait(self) -> float:
        """Seconds that the unluckiest borrower waited."""
        return max((turn.waited for turn in self.turns), default=0.0)
