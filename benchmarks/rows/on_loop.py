"""The pool on an event loop, beside SQLAlchemy's own, psycopg's and asyncpg's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from time import perf_counter
from typing import Any

from benchmarks.crowd import QUANTITIES, SHARES, WAITS
from benchmarks.figures import curve, fair_shares, jain, median, quantile
from benchmarks.loop_contenders import (
    ASYNCPG,
    ELASTIC,
    ELASTIC_ASYNCPG,
    PSYCOPG,
    QUEUE,
    QUEUE_ASYNCPG,
    LoopContender,
    LoopSource,
    make,
)
from benchmarks.measure import Bench, Case, Reading, Row, time_per_call
from benchmarks.results import Quantity, Target

ALL = (ELASTIC, QUEUE, PSYCOPG, ELASTIC_ASYNCPG, QUEUE_ASYNCPG, ASYNCPG)
CONNECTIONS = 8
WAITING = (100, 1_000, 10_000)


@contextmanager
def _warm(
    bench: Bench, names: tuple[str, ...], connections: int, case: Callable[[asyncio.Runner, LoopContender], Case]
) -> Iterator[Mapping[str, Case]]:
    """A case of each of these pools, all of whose connections are open, on one loop."""
    with asyncio.Runner() as runner:
        pools = {name: runner.run(make(name, LoopSource(bench.dsn), connections, connections)) for name in names}
        try:
            yield {name: case(runner, pool) for name, pool in pools.items()}
        finally:
            for pool in pools.values():
                runner.run(_awaited(pool.close()))


async def _awaited(what: Awaitable[Any]) -> Any:
    return await what


# ---- the cost of a checkout


def _checkout(bench: Bench) -> AbstractContextManager[Mapping[str, Case]]:
    return _warm(
        bench,
        ALL,
        1,
        lambda runner, pool: time_per_call(lambda count: runner.run(_awaited(pool.cycle(count))), seconds=0.01),
    )


# ---- crowds


async def _work_for(pool: LoopContender, sql: str, tasks: int, seconds: float) -> Reading:
    waits: list[float] = []
    done = [0] * tasks
    end = perf_counter() + seconds

    async def work(me: int) -> None:
        while not done[me] or perf_counter() < end:  # a crowd may not all begin in time
            began = perf_counter()
            connection = await pool.borrow()
            waits.append(perf_counter() - began)
            try:
                await pool.run(connection, sql)
            finally:
                await pool.give_back(connection)
            done[me] += 1

    began = perf_counter()
    await asyncio.gather(*(work(me) for me in range(tasks)))
    numbers = {
        "throughput": sum(done) / (perf_counter() - began),
        "longest wait": max(waits),
        "median wait": median(waits),
        "fairness": jain(done),
    }
    return Reading(numbers, {WAITS: curve(waits), SHARES: fair_shares(done)})


def _crowd(
    bench: Bench, *, sql: str, tasks: int, seconds: tuple[float, float]
) -> AbstractContextManager[Mapping[str, Case]]:
    def case(runner: asyncio.Runner, pool: LoopContender) -> Case:
        return lambda share: runner.run(_work_for(pool, sql, tasks, share * bench.pick(*seconds)))

    return _warm(bench, ALL, CONNECTIONS, case)


def _crowd_row(name: str, title: str, sql: str, tasks: int, targets: tuple[Target, ...]) -> Row:
    return Row(
        name=name,
        title=title,
        notes="All begin a transaction and roll it back, but for asyncpg's own pool.",
        quantities=QUANTITIES,
        targets=targets,
        rounds=(1, 1),
        seconds=(60, 12),
        cases=partial(_crowd, sql=sql, tasks=tasks, seconds=(2.0, 0.7)),
    )


def _better(ours: str, theirs: str, *, throughput: float, longest: float) -> tuple[Target, ...]:
    return (
        Target(quantity="throughput", of=ours, to=theirs, at_least=throughput),
        Target(quantity="longest wait", of=ours, to=theirs, at_most=longest),
    )


_FEW = (
    *_better(ELASTIC, QUEUE, throughput=1.0, longest=0.5),
    Target(quantity="fairness", of=ELASTIC, at_least=0.98),
    *_better(ELASTIC_ASYNCPG, QUEUE_ASYNCPG, throughput=1.0, longest=0.5),
    Target(quantity="fairness", of=ELASTIC_ASYNCPG, at_least=0.98),
)
_MANY = (
    *_better(ELASTIC, QUEUE, throughput=1.1, longest=0.25),
    *_better(ELASTIC_ASYNCPG, QUEUE_ASYNCPG, throughput=1.1, longest=0.25),
)


# ---- bursts


def _burst(bench: Bench, name: str) -> Reading:
    source = LoopSource(bench.dsn, delay=0.05)

    async def request(pool: LoopContender, times: list[float]) -> None:
        began = perf_counter()
        connection = await pool.borrow()
        await pool.run(connection, "SELECT 1")
        await pool.give_back(connection)
        times.append(perf_counter() - began)

    async def main() -> Reading:
        pool = await make(name, source, 2, 20)
        times: list[float] = []
        await asyncio.gather(*(request(pool, times) for _ in range(200)))
        before = source.opened
        for _ in range(10):
            await asyncio.gather(*(request(pool, []) for _ in range(10)))
            await asyncio.sleep(0.005)
        await pool.close()
        numbers = {"median": median(times), "p95": quantile(times, 0.95), "reconnects": source.opened - before}
        return Reading(numbers)

    return asyncio.run(main())


@contextmanager
def _bursts(bench: Bench) -> Iterator[Mapping[str, Case]]:
    yield {name: _burst_case(bench, name) for name in ALL}


def _burst_case(bench: Bench, name: str) -> Case:
    return lambda _share: _burst(bench, name)


# ---- a long line


@contextmanager
def _lines(bench: Bench) -> Iterator[Mapping[str, Case]]:
    with asyncio.Runner() as runner:
        pool = runner.run(make(ELASTIC, LoopSource(bench.dsn), CONNECTIONS, CONNECTIONS))
        yield {f"{count:,} waiting": _line_case(runner, pool, count) for count in WAITING}
        runner.run(_awaited(pool.close()))


def _line_case(runner: asyncio.Runner, pool: LoopContender, count: int) -> Case:
    async def visit() -> None:
        await pool.give_back(await pool.borrow())

    async def main() -> Reading:
        held = [await pool.borrow() for _ in range(CONNECTIONS)]
        began = perf_counter()
        tasks = [asyncio.create_task(visit()) for _ in range(count)]
        await asyncio.sleep(0)
        for connection in held:
            await pool.give_back(connection)
        await asyncio.gather(*tasks)
        return Reading({"time": (perf_counter() - began) / count})

    return lambda _share: runner.run(main())


ROWS = (
    Row(
        name="loop-checkout",
        title="on an event loop: checkout and return, of one idle connection",
        notes="AsyncElasticPool looks at the connection's socket each time; AsyncAdaptedQueuePool lends it unseen.",
        quantities=(Quantity("time", "seconds"),),
        targets=(
            Target(quantity="time", of=ELASTIC, to=QUEUE, at_most=1.0),
            Target(quantity="time", of=ELASTIC_ASYNCPG, to=QUEUE_ASYNCPG, at_most=1.0),
        ),
        rounds=(20, 5),
        seconds=(30, 8),
        cases=_checkout,
    ),
    _crowd_row("loop-64", "on an event loop: 64 tasks on 8 connections, SELECT 1", "SELECT 1", 64, _FEW),
    _crowd_row(
        "loop-64-2ms",
        "on an event loop: 64 tasks on 8 connections, 2 ms of server time",
        "SELECT pg_sleep(0.002)",
        64,
        _FEW,
    ),
    _crowd_row("loop-1000", "on an event loop: 1,000 tasks on 8 connections, SELECT 1", "SELECT 1", 1000, _MANY),
    Row(
        name="loop-burst",
        title="on an event loop: 200 requests at once on 2 to 20 connections, connects slowed by 50 ms",
        notes="Reconnects: connects in ten waves of ten requests afterwards.",
        quantities=(
            Quantity("median", "seconds"),
            Quantity("p95", "seconds"),
            Quantity("reconnects", "count", worst=True),
        ),
        targets=(
            Target(quantity="median", of=ELASTIC, to=QUEUE, at_most=1.0),
            Target(quantity="p95", of=ELASTIC, to=QUEUE, at_most=1.0),
            Target(quantity="reconnects", of=ELASTIC, at_most=0.0),
            Target(quantity="median", of=ELASTIC_ASYNCPG, to=QUEUE_ASYNCPG, at_most=1.0),
            Target(quantity="p95", of=ELASTIC_ASYNCPG, to=QUEUE_ASYNCPG, at_most=1.0),
            Target(quantity="reconnects", of=ELASTIC_ASYNCPG, at_most=0.0),
        ),
        rounds=(3, 1),
        seconds=(60, 15),
        warm_up="never",
        cases=_bursts,
    ),
    Row(
        name="loop-line",
        title="on an event loop: the cost per waiting task, with 100, 1,000, 10,000 of them on 8 connections",
        notes="Tasks that borrow and give back, and no more: the time of all of them, over their number.",
        quantities=(Quantity("time", "seconds"),),
        targets=tuple(
            Target(quantity="time", of=f"{count:,} waiting", to=f"{WAITING[0]:,} waiting", at_most=1.5)
            for count in WAITING[1:]
        ),
        rounds=(3, 1),
        seconds=(30, 8),
        cases=_lines,
    ),
)
