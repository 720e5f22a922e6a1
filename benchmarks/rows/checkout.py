"""One thread, nobody else: what a borrow and a return cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks import contenders
from benchmarks.contenders import ELASTIC, FLOOR, QUEUE, QUEUE_PING, Source
from benchmarks.measure import Bench, Case, Row, time_per_call
from benchmarks.report import Quantity, Target
from dbkit.pool import lending

_lending: Any = lending  # its own imports are not ours to change, except here
PEEKING = "ElasticPool, always peeking"


@contextmanager
def _cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
    with ExitStack() as stack:
        cases: dict[str, Case] = {}
        for name, make in contenders.MAKERS.items():
            contender = make(Source(bench.dsn), 2, 10)
            stack.callback(contender.close)
            cases[name] = time_per_call(contender.cycle)
            if name == ELASTIC:
                cases[PEEKING] = time_per_call(_peeking(contender.cycle))
        yield cases


def _peeking(cycle: Callable[[int], None]) -> Callable[[int], None]:
    """As if every connection had lain idle for long, so that none is taken on trust."""

    def peek_every_time(count: int) -> None:
        fresh = _lending.FRESH
        _lending.FRESH = -1.0
        try:
            cycle(count)
        finally:
            _lending.FRESH = fresh

    return peek_every_time


ROW = Row(
    name="checkout",
    title="checkout and return, nobody else",
    notes=(
        "Validation as it comes: a connection given back less than 20 ms ago is taken on trust, so here none is\n"
        "looked at; 'always peeking' is the same pool with that trust taken away. ThreadedConnectionPool,\n"
        "psycopg_pool and DBUtils do not pay for SQLAlchemy's record, events and proxy."
    ),
    quantities=(Quantity("time", "seconds"),),
    targets=(
        Target(quantity="time", of=ELASTIC, to=QUEUE, at_most=1.0),
        Target(quantity="time", of=QUEUE_PING, to=ELASTIC, at_least=12.0),
        Target(quantity="time", of=ELASTIC, to=FLOOR, at_most=1.2, aim=True),
    ),
    rounds=(200, 30),
    cases=_cases,
)
