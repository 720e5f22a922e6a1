"""Metrics and spans through OpenTelemetry's own SDK, in memory and over HTTP to a collector."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.metrics import db_metrics
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import NullPool

from dbkit import DatabaseConnectionManager, ElasticPool, SettingsError
from dbkit.events import Observer, Waited
from dbkit.metrics.names import METRICS, POOL, STATE
from dbkit.metrics.otel import instrument

from ..pool.helpers import QUIET, engine_on, eventually


@contextmanager
def metered(engine: Any, reader: Any, **arguments: Any) -> Iterator[Any]:
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    arguments.setdefault("spans", False)
    instrumentation = instrument(engine, name="orders", meter_provider=provider, **arguments)
    try:
        yield instrumentation
    finally:
        instrumentation.stop()
        provider.shutdown()


def read(reader: InMemoryMetricReader) -> dict[str, Any]:
    """The metrics by name."""
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_all_metrics_of_the_table_and_no_others(shared_database: str) -> None:
    reader = InMemoryMetricReader()
    with engine_on(shared_database, **QUIET) as engine, metered(engine, reader):
        engine.connect().close()
        engine.pool.dispose()
        found = read(reader)
        assert found.keys() == {metric.name for metric in METRICS}
        assert all(found[metric.name].unit == metric.unit for metric in METRICS)


def test_the_conventions_names_and_units() -> None:
    """Compared with the package of the semantic conventions."""
    conventional = {
        value: name.lower()
        for name, value in vars(db_metrics).items()
        if isinstance(value, str) and value.startswith("db.client.connection.")
    }
    ours = {metric.name for metric in METRICS if metric.name.startswith("db.")}
    assert ours == conventional.keys()
    made: dict[str, str] = {}

    class Meter:
        def __getattr__(self, kind: str) -> Any:
            return lambda name, description, unit: made.update({name: (kind, unit)})

    for name in conventional.values():
        getattr(db_metrics, f"create_{name}")(Meter())
    kinds = {
        "up-down counter": "create_up_down_counter",
        "counter": "create_counter",
        "histogram": "create_histogram",
    }
    assert made == {m.name: (kinds[m.kind.value], m.unit) for m in METRICS if m.name.startswith("db.")}


def test_values(shared_database: str) -> None:
    reader = InMemoryMetricReader()
    with engine_on(shared_database, **QUIET, max_size=3) as engine, metered(engine, reader):
        engine.connect().close()
        with engine.connect():
            found = read(reader)
            states = {p.attributes[STATE]: p.value for p in found["db.client.connection.count"].data.data_points}
            assert states == {"idle": 0, "used": 1, "opening": 0}
            assert [p.value for p in found["db.client.connection.max"].data.data_points] == [3]
            assert [p.value for p in found["dbkit.connection.borrows"].data.data_points] == [2]
        stats = engine.pool.stats()
        found = read(reader)
        for name, histogram in (
            ("use_time", stats.use_time),
            ("create_time", stats.open_time),
            ("wait_time", stats.wait_time),
        ):
            [point] = found[f"db.client.connection.{name}"].data.data_points
            assert dict(point.attributes) == {POOL: "orders"}
            assert (point.count, point.sum, point.max) == (histogram.count, histogram.total, histogram.longest)
            assert sum(point.bucket_counts) == point.count
            assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
            assert point.start_time_unix_nano < point.time_unix_nano


def test_a_reader_of_deltas_gets_what_is_new(shared_database: str) -> None:
    reader = InMemoryMetricReader(preferred_temporality={HistogramInstrument: AggregationTemporality.DELTA})
    with engine_on(shared_database, **QUIET) as engine, metered(engine, reader):
        counts = []
        for borrows in (3, 0, 2):
            for _ in range(borrows):
                engine.connect().close()
            [point] = read(reader)["db.client.connection.use_time"].data.data_points
            counts.append(point.count)
            assert (point.sum > 0) == (borrows > 0)
        assert counts == [3, 0, 2]


def test_it_goes_on_after_dispose_and_stops_when_told(shared_database: str) -> None:
    reader = InMemoryMetricReader()
    with engine_on(shared_database, **QUIET) as engine, metered(engine, reader) as instrumentation:
        engine.connect().close()
        engine.dispose()
        engine.connect().close()
        assert [p.value for p in read(reader)["dbkit.connection.borrows"].data.data_points] == [2]
        instrumentation.stop()
        instrumentation.stop()
        assert read(reader) == {}


def test_two_pools_of_one_name_are_refused(shared_database: str) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    with engine_on(shared_database) as one, engine_on(shared_database) as other:
        instrument(one, name="a", meter_provider=provider, spans=False)
        instrument(other, name="b", meter_provider=provider, spans=False)
        with pytest.raises(SettingsError, match="another pool is read under this name"):
            instrument(other, name="a", meter_provider=provider, spans=False)
        names = {p.attributes[POOL] for p in read(reader)["db.client.connection.max"].data.data_points}
        assert names == {"a", "b"}
    provider.shutdown()


def test_only_an_elastic_pool(shared_database: str) -> None:
    with engine_on(shared_database, poolclass=NullPool) as engine, pytest.raises(TypeError, match="NullPool"):
        instrument(engine)
    with pytest.raises(TypeError, match="not str"):
        instrument("postgresql://")


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportMetricsServiceRequest]]]:
    """A small OTLP collector on loopback."""
    got: list[ExportMetricsServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            got.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/metrics", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_collector_over_http_gets_them(shared_database: str) -> None:
    with collector() as (url, got), engine_on(shared_database, **QUIET) as engine:
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=url), export_interval_millis=3_600_000)
        with metered(engine, reader):
            engine.connect().close()
            engine.pool.dispose()
            reader.force_flush()
            found = {
                metric.name: metric
                for resource in got[0].resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
            }
            assert found.keys() == {metric.name for metric in METRICS}
            [point] = found["db.client.connection.use_time"].histogram.data_points
            assert (point.count, point.attributes[0].value.string_value) == (1, "orders")


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracers(spans: InMemorySpanExporter) -> Iterator[TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    yield provider
    provider.shutdown()


def by_name(spans: InMemorySpanExporter) -> dict[str, Any]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_waits_connects_and_statements_are_in_the_callers_trace(
    shared_database: str, spans: InMemorySpanExporter, tracers: TracerProvider
) -> None:
    reader = InMemoryMetricReader()
    with (
        engine_on(shared_database, **QUIET) as engine,
        metered(engine, reader, spans=True, tracer_provider=tracers),
        tracers.get_tracer("test").start_as_current_span("the caller") as caller,
    ):
        with engine.connect() as connection:
            connection.execute(text("SELECT :secret"), {"secret": "hunter2"})
        eventually(lambda: "connect" in by_name(spans))
        found = by_name(spans)
        assert found.keys() == {"wait for a connection", "connect", "SELECT shared"}
        for span in found.values():
            assert span.context.trace_id == caller.get_span_context().trace_id
            assert span.parent.span_id == caller.get_span_context().span_id
            assert span.start_time <= span.end_time
        select = found["SELECT shared"].attributes
        assert select["db.system.name"] == "postgresql"
        assert select["db.namespace"] == "shared"
        assert select["db.operation.name"] == "SELECT"
        assert select["db.query.text"].startswith("SELECT %(secret)s")
        assert "hunter2" not in repr([dict(span.attributes) for span in found.values()])


def test_a_statement_that_fails(shared_database: str, spans: InMemorySpanExporter, tracers: TracerProvider) -> None:
    with engine_on(shared_database, **QUIET) as engine:
        with metered(engine, InMemoryMetricReader(), spans=True, tracer_provider=tracers):
            with engine.connect() as connection, pytest.raises(ProgrammingError):
                connection.execute(text("SELECT nothing FROM nowhere"))
            span = by_name(spans)["SELECT shared"]
            assert span.attributes["db.response.status_code"] == "42P01"
            assert span.attributes["error.type"] == "UndefinedTable"
            assert "db.query.text" not in span.attributes
            assert not span.status.is_ok
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT 1")) == 1
            assert connection.closed
        spans.clear()
        engine.connect().close()
        assert spans.get_finished_spans() == (), "stopped"


def test_the_managers_queries_have_spans(
    shared_database: str, spans: InMemorySpanExporter, tracers: TracerProvider
) -> None:
    with DatabaseConnectionManager(shared_database, min_size=0) as db:
        with metered(db, InMemoryMetricReader(), spans=True, tracer_provider=tracers):
            db.execute_query("SELECT :n + 1", {"n": 1})
            assert "SELECT shared" in by_name(spans)


def test_an_observer_beside_the_spans_hears_as_before(shared_database: str, tracers: TracerProvider) -> None:
    heard: list[Waited] = []

    class Ear(Observer):
        def waited(self, fact: Waited) -> None:
            heard.append(fact)

    with engine_on(shared_database, **QUIET, observer=Ear()) as engine:
        with metered(engine, InMemoryMetricReader(), spans=True, tracer_provider=tracers):
            engine.connect().close()
            assert len(heard) == 1
            engine.dispose()
            engine.connect().close()
            assert len(heard) == 2


def test_unlimited_pools_have_no_maximum(shared_database: str) -> None:
    reader = InMemoryMetricReader()
    engine = create_engine("postgresql+psycopg2://app@db.example/shop", poolclass=ElasticPool, pool_size=0)
    with metered(engine, reader):
        assert "db.client.connection.max" not in read(reader)
