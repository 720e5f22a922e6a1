"""Ten waves of ten requests: does the pool throw away the connections it will need again in a moment?"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks import contenders
from benchmarks.contenders import DBUTILS, DBUTILS_KEEPS, ELASTIC, PSYCOPG, QUEUE, QUEUE_KEEPS, THREADED, Source
from benchmarks.measure import Bench, Case, Reading, Row
from benchmarks.results import Quantity, Target

KEPT, MOST, WAVES, PAUSE = 2, 10, 10, 0.005

OURS = f"{ELASTIC} min_size={KEPT}, max_size={MOST}"
QUEUE_GIVES_BACK = f"QueuePool pool_size={KEPT}, max_overflow={MOST - KEPT}"
QUEUE_KEEPS_ALL = f"QueuePool pool_size={MOST}, max_overflow=0"
PSYCOPG_POOL = f"{PSYCOPG} min_size={KEPT}, max_size={MOST}"
POOLS = {
    OURS: ELASTIC,
    QUEUE_GIVES_BACK: QUEUE,
    QUEUE_KEEPS_ALL: QUEUE_KEEPS,
    PSYCOPG_POOL: PSYCOPG,
    f"ThreadedConnectionPool {KEPT} to {MOST}": THREADED,
    f"DBUtils maxcached={KEPT}": DBUTILS,
    "DBUtils maxcached=0 (its default)": DBUTILS_KEEPS,
}
"""Which pool each case is. Two of them are there twice: what they are told to keep decides this row."""


def _waves(bench: Bench, name: str) -> Reading:
    source = Source(bench.dsn)
    contender = contenders.MAKERS[name](source, KEPT, MOST)
    warm = len(source.opened)
    first = 0
    try:
        began = time.perf_counter()
        for wave in range(WAVES):
            _wave(contender)
            if wave == 0:
                first = len(source.opened)
            time.sleep(PAUSE)
        took = time.perf_counter() - began
        return Reading({"connects": len(source.opened) - warm, "reconnects": len(source.opened) - first, "time": took})
    finally:
        contender.close()


def _wave(contender: contenders.Contender) -> None:
    """Ten requests, all holding a connection at the same moment."""
    together = threading.Barrier(MOST)
    errors: list[BaseException] = []

    def request() -> None:
        try:
            connection = contender.borrow()
            together.wait(contenders.TIMEOUT)
            contender.give_back(connection)
        except BaseException as error:  # noqa: BLE001 - told to the caller
            errors.append(error)
            together.abort()

    threads = [threading.Thread(target=request, daemon=True) for _ in range(MOST)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@contextmanager
def _cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
    yield {case: _case(bench, name) for case, name in POOLS.items()}


def _case(bench: Bench, name: str) -> Case:
    return lambda _share: _waves(bench, name)


ROW = Row(
    name="waves",
    title="ten waves of 10 requests, 5 ms apart, on 2 to 10 connections",
    notes=(
        "A new pool each round, 2 connections warm; in a wave all ten are out at once. Connects: all beyond the warm\n"
        "ones. Reconnects: those after the first wave, when every connection needed had already been open.\n"
        "Told to keep all ten, QueuePool and DBUtils reconnect as little as ElasticPool; they then keep them for\n"
        "good, where ElasticPool closes what lay idle for max_idle. Connecting is cheap here, see the server."
    ),
    quantities=(
        Quantity("connects", "count"),
        Quantity("reconnects", "count", worst=True),
        Quantity("time", "seconds"),
    ),
    targets=(Target(quantity="reconnects", of=OURS, at_most=0.0),),
    rounds=(1, 1),
    seconds=(35, 6),
    warm_up="never",
    cases=_cases,
)
