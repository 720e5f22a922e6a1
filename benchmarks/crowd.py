"""Many threads on few connections, for a while: who got how much, and who waited how long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any

from benchmarks import contenders
from benchmarks.contenders import Contender, Source
from benchmarks.figures import curve, fair_shares, jain, median
from benchmarks.measure import Bench, Case, Reading
from benchmarks.results import Quantity

WAITS, SHARES = "waits", "shares"
"""The shapes: how long borrowers waited, and how much of the work each thread did."""

QUANTITIES = (
    Quantity("throughput", "per second"),
    Quantity("longest wait", "seconds"),
    Quantity("median wait", "seconds"),
    Quantity("fairness", "index"),
)


def statement(sql: str) -> Callable[[Any], None]:
    """Work: this statement, on a cursor of its own."""

    def work(connection: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(sql)
        cursor.fetchall()
        cursor.close()

    return work


def nothing(connection: Any) -> None:
    """Work: none. Only the pool is left."""


def work_for(
    contender: Contender,
    work: Callable[[Any], None],
    *,
    threads: int,
    end: Callable[[], object],
    think: Callable[[], object] | None = None,
) -> Reading:
    """Let this many threads borrow, work, give back and think, over and over.

    A wait that is still on at the end is counted when it is over, which is at once: then the others stop.

    Args:
        contender: the pool.
        work: what is done with each connection.
        threads: how many.
        end: returns when all shall stop (``sleep``, for so long).
        think: what a thread does between two borrows; None: it borrows again at once.

    Raises:
        the first error of a thread.
    """
    waits: list[list[float]] = [[] for _ in range(threads)]
    done = [0] * threads
    gate = threading.Barrier(threads + 1)
    stop = False
    errors: list[BaseException] = []

    def loop(me: int) -> None:
        borrow, give_back, mine = contender.borrow, contender.give_back, waits[me]
        try:
            gate.wait(contenders.TIMEOUT)
            while not stop:
                began = perf_counter()
                connection = borrow()
                mine.append(perf_counter() - began)
                try:
                    work(connection)
                finally:
                    give_back(connection)
                if not stop:
                    done[me] += 1
                if think is not None:
                    think()
        except BaseException as error:  # noqa: BLE001 - told to the caller
            errors.append(error)
            gate.abort()

    crowd = [threading.Thread(target=loop, args=(me,), daemon=True) for me in range(threads)]
    for thread in crowd:
        thread.start()
    began = perf_counter()
    try:
        gate.wait(contenders.TIMEOUT)
        began = perf_counter()
        end()
        while not (any(done) or errors):  # on a machine with no processor to spare
            time.sleep(0.01)
    except threading.BrokenBarrierError:
        pass  # the error that broke it is raised below
    finally:
        stop = True
        took = perf_counter() - began
        gate.abort() if gate.n_waiting else None
        for thread in crowd:
            thread.join()
    if errors:
        raise errors[0]
    every = [wait for mine in waits for wait in mine]
    numbers = {
        "throughput": sum(done) / took,
        "longest wait": max(every),
        "median wait": median(every),
        "fairness": jain(done),
    }
    return Reading(numbers, {WAITS: curve(every), SHARES: fair_shares(done)})


@contextmanager
def crowd_cases(
    bench: Bench,
    *,
    names: tuple[str, ...],
    threads: int,
    connections: int,
    work: Callable[[Any], None],
    seconds: float,
    think: Callable[[], object] | None = None,
) -> Iterator[Mapping[str, Case]]:
    """Cases of ``work_for``: each of these pools, all of its connections open."""
    with ExitStack() as stack:
        cases: dict[str, Case] = {}
        for name in names:
            contender = contenders.MAKERS[name](Source(bench.dsn), connections, connections)
            stack.callback(contender.close)
            cases[name] = _case(contender, work, threads, seconds, think)
        yield cases


def _case(
    contender: Contender,
    work: Callable[[Any], None],
    threads: int,
    seconds: float,
    think: Callable[[], object] | None,
) -> Case:
    return lambda share: work_for(
        contender, work, threads=threads, end=lambda: time.sleep(seconds * share), think=think
    )
