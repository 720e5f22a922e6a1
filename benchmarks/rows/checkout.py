"""One thread, nobody else: what a borrow and a return cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from benchmarks import contenders
from benchmarks.contenders import DBUTILS, ELASTIC, FLOOR, PSYCOPG, QUEUE, QUEUE_PING, THREADED, Source
from benchmarks.measure import Bench, Case, Row, time_per_call
from benchmarks.results import Quantity, Target


@contextmanager
def _cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
    with ExitStack() as stack:
        cases: dict[str, Case] = {}
        for name in (ELASTIC, QUEUE, QUEUE_PING, FLOOR, PSYCOPG, THREADED, DBUTILS):
            contender = contenders.MAKERS[name](Source(bench.dsn), 2, 10)
            stack.callback(contender.close)
            cases[name] = time_per_call(contender.cycle)
        yield cases


ROW = Row(
    name="checkout",
    title="checkout and return, nobody else",
    notes=(
        "Validation as it comes: ElasticPool looks at the socket of every connection that it lends.\n"
        "ThreadedConnectionPool, psycopg_pool and DBUtils do not pay for SQLAlchemy's record, events and proxy."
    ),
    quantities=(Quantity("time", "seconds"),),
    targets=(
        Target(quantity="time", of=ELASTIC, to=QUEUE, at_most=1.0),
        Target(quantity="time", of=QUEUE_PING, to=ELASTIC, at_least=12.0),
        Target(quantity="time", of=ELASTIC, to=FLOOR, at_most=1.2, aim=True),
    ),
    rounds=(40, 10),
    seconds=(20, 5),
    cases=_cases,
)
