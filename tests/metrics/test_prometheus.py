"""Scraped over HTTP, read by the official parser; beside OpenTelemetry's own exporter; several processes as one."""

from __future__ import annotations

import json
import multiprocessing
import re
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from dbkit import SettingsError
from dbkit.metrics.names import METRICS, Kind, prometheus_label
from dbkit.metrics.otel import instrument
from dbkit.metrics.prometheus import PoolCollector

from ..pool.helpers import QUIET, engine_on, eventually

ROOT = Path(__file__).resolve().parents[2]


def families(registry: CollectorRegistry) -> dict[str, Any]:
    text = generate_latest(registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(family: Any) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_scraped_over_http(shared_database: str) -> None:
    with engine_on(shared_database, **QUIET, pool_logging_name="orders") as engine:
        engine.connect().close()
        registry = CollectorRegistry()
        registry.register(PoolCollector(engine))
        server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=30) as answer:
                text = answer.read().decode()
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        found = {family.name: family for family in text_string_to_metric_families(text)}
        assert found.keys() == {metric.prometheus_name.removesuffix("_total") for metric in METRICS}
        assert samples(found["db_client_connection_count"]) == {
            ("orders", "idle"): 1, ("orders", "used"): 0, ("orders", "opening"): 0,
        }  # fmt: skip
        times = found["db_client_connection_use_time_seconds"]
        assert times.type == "histogram"
        buckets = [sample.value for sample in times.samples if sample.name.endswith("_bucket")]
        assert buckets == sorted(buckets)
        assert buckets[-1] == next(s.value for s in times.samples if s.name.endswith("_count")) == 1


def test_the_names_and_values_of_opentelemetrys_exporter(shared_database: str) -> None:
    """Name by name, label by label, bucket by bucket."""
    with engine_on(shared_database, **QUIET) as engine:
        engine.connect().close()
        engine.pool.dispose()
        reader = PrometheusMetricReader()
        provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
        instrumentation = instrument(engine, name="orders", meter_provider=provider, spans=False)
        try:
            theirs = {name: family for name, family in families(REGISTRY).items() if "connection" in name}
        finally:
            instrumentation.stop()
            provider.shutdown()
        registry = CollectorRegistry()
        collector = PoolCollector()
        collector.add(engine, "orders")
        registry.register(collector)
        ours = families(registry)
        assert ours.keys() == theirs.keys()
        for name, family in ours.items():
            assert family.type == theirs[name].type, name

            def values(found: Any) -> set[tuple[str, tuple[tuple[str, str], ...], float]]:
                return {
                    (
                        sample.name,
                        tuple(sorted((k, v) for k, v in sample.labels.items() if not k.startswith("otel_"))),
                        sample.value,
                    )
                    for sample in found.samples
                    if not sample.name.endswith("_created")
                }

            assert values(family) == values(theirs[name]), name


def test_two_pools_of_one_name_are_refused(shared_database: str) -> None:
    with engine_on(shared_database) as one, engine_on(shared_database) as other:
        with pytest.raises(SettingsError, match="another pool is read under this name"):
            PoolCollector(one, other)


def test_an_engine_that_is_no_more_is_forgotten(shared_database: str) -> None:
    import gc

    with engine_on(shared_database) as engine:
        collector = PoolCollector(engine)
        assert any(family.samples for family in collector.collect())
    del engine
    gc.collect()
    assert not any(family.samples for family in collector.collect())


def _worker(url: str, folder: str, told: Any, ask: Any) -> None:
    with engine_on(url, **QUIET, pool_logging_name="orders") as engine:
        engine.connect().close()
        collector = PoolCollector(engine, folder=folder, every=0.05)
        told.send(multiprocessing.current_process().pid)
        ask.recv()
        collector.close()


def test_several_processes_are_scraped_as_one(shared_database: str, tmp_path: Path) -> None:
    (told, tell), (asked, _ask) = multiprocessing.Pipe(duplex=False), multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=_worker, args=(shared_database, str(tmp_path), tell, asked))
    worker.start()
    try:
        assert told.poll(60)
        process = told.recv()
        with engine_on(shared_database, **QUIET, pool_logging_name="orders") as engine:
            collector = PoolCollector(engine, folder=tmp_path, every=0.05)
            registry = CollectorRegistry()
            registry.register(collector)
            opened = samples(families(registry)["dbkit_connection_opened"])
            assert {key[-1] for key in opened} == {str(process), str(multiprocessing.current_process().pid)}
            assert opened["orders", str(process)] == 1
            worker.kill()
            worker.join()
            assert len(samples(families(registry)["dbkit_connection_opened"])) == 1, "it ended, and is told of no more"
            engine.connect().close()
            [mine] = tmp_path.glob("dbkit_*.json")
            eventually(lambda: _opened_in(mine) == 1)
            collector.close()
            assert list(tmp_path.iterdir()) == []
    finally:
        worker.kill()
        worker.join()


def _opened_in(path: Path) -> int:
    return next(e["value"] for e in json.loads(path.read_text()) if e["metric"] == "dbkit.connection.opened")


def test_the_thread_that_publishes_ends_with_its_collector(shared_database: str, tmp_path: Path) -> None:
    with engine_on(shared_database) as engine:
        collector = PoolCollector(engine, folder=tmp_path, every=0.01)
        [thread] = [thread for thread in threading.enumerate() if thread.name == "dbkit-metrics"]
        del collector
        thread.join(60)
        assert not thread.is_alive()


def exported() -> set[str]:
    """Every name that a query can ask for."""
    found = set()
    for metric in METRICS:
        if metric.kind is Kind.HISTOGRAM:
            found |= {metric.prometheus_name + end for end in ("_bucket", "_sum", "_count")}
        else:
            found.add(metric.prometheus_name)
    return found


def test_the_dashboard_asks_for_what_is_exported() -> None:
    dashboard = json.loads((ROOT / "dashboards" / "grafana.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(expressions) >= 10
    labels = {prometheus_label(attribute) for metric in METRICS for attribute in metric.attributes} | {"le"}
    for expression in expressions:
        asked = set(re.findall(r"\b(?:db_client|dbkit)_\w+", expression))
        assert asked, expression
        assert asked - labels <= exported(), expression
        assert asked - labels, expression
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            assert {label.strip() for label in grouped.split(",")} <= labels, expression


def test_the_documented_table_is_the_one_in_the_code() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    for metric in METRICS:
        attribute = f"`{metric.attribute}`" if metric.attribute else ""
        row = f"| `{metric.name}` | {metric.kind.value} | `{metric.unit}` | {attribute} | `{metric.prometheus_name}` |"
        assert row in text, row
    assert len(re.findall(r"^\| `(?:db|dbkit)\.", text, re.MULTILINE)) == len(METRICS)
