"""What it costs to be watched: a checkout with exporters and the profile, beside one without."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import Engine, create_engine

from benchmarks.contenders import Source
from benchmarks.measure import Bench, Case, Row, time_per_call
from benchmarks.results import Quantity, Target
from dbkit.metrics.otel import instrument
from dbkit.metrics.prometheus import PoolCollector
from dbkit.pool.elastic import ElasticPool

NEITHER = "no exporter, no profile"
PROFILE = "profile, one borrow in 64"
EXPORTERS = "OpenTelemetry, Prometheus and profile"

EVERY = 0.25
"""Seconds between two collections by each exporter: some sixty times as often as people collect."""

TURN = 0.02
"""Seconds a turn lasts."""


@contextmanager
def _cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
    with ExitStack() as stack:
        engines = {name: _engine(bench, stack) for name in (NEITHER, PROFILE, EXPORTERS)}
        _pool(engines[NEITHER]).stop_profile()
        stack.enter_context(_exported(engines[EXPORTERS]))
        yield {name: time_per_call(_cycle(engine), TURN) for name, engine in engines.items()}


def _engine(bench: Bench, stack: ExitStack) -> Engine:
    engine = create_engine("postgresql+psycopg2://", creator=Source(bench.dsn).connect, poolclass=ElasticPool)
    stack.callback(engine.dispose)
    return engine


def _pool(engine: Engine) -> ElasticPool:
    assert isinstance(engine.pool, ElasticPool)
    return engine.pool


def _cycle(engine: Engine) -> Callable[[int], object]:
    def cycle(count: int) -> None:
        connect = engine.pool.connect
        for _ in range(count):
            connect().close()

    return cycle


@contextmanager
def _exported(engine: Engine) -> Iterator[None]:
    """Both exporters, asked again and again while everything is measured: the machine pays for that in all cases."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    instrumentation = instrument(engine, name="bench", meter_provider=provider)
    registry = CollectorRegistry()
    registry.register(PoolCollector(engine))
    over = threading.Event()

    def collect() -> None:
        while not over.wait(EVERY):
            reader.get_metrics_data()
            generate_latest(registry)

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        instrumentation.stop()
        provider.shutdown()


ROW = Row(
    name="watched",
    title="checkout and return, watched",
    notes=(
        "Exporters read what the pool counts anyway, so a checkout does nothing for them; spans are made of waits,\n"
        "connects and statements, and a checkout that finds a connection has none. The profile subtracts one at each\n"
        "borrow, and looks for the call site of one in 64."
    ),
    quantities=(Quantity("time", "seconds"),),
    targets=(
        Target(quantity="time", of=EXPORTERS, to=NEITHER, at_most=1.1),
        Target(quantity="time", of=PROFILE, to=NEITHER, at_most=1.02),
    ),
    rounds=(30, 10),
    seconds=(15, 5),
    cases=_cases,
)
