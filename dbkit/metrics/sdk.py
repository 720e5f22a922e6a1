"""Hands the pool's own histograms to OpenTelemetry's SDK, as they are.

The SDK knows no histogram that is read: each time is to be recorded by itself, some microseconds each, which a checkout
of four cannot pay. So the pool's counts are added to what a reader has collected, before it exports that.

Every private name of the SDK that dbkit reads is here: a provider's readers, what a reader does with what it collected
(the method that each kind of reader must have), and its temporality.
"""

from __future__ import annotations

import logging
import time
import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)

from dbkit.metrics.names import METRICS, POOL, Kind
from dbkit.metrics.readings import BOUNDS, Reading, Times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.sdk.metrics.export import MetricReader

logger = logging.getLogger("dbkit.metrics")

SCOPE = "dbkit"
"""The instrumentation's name, of the meter and of the tracer."""


class Histograms:
    """Adds the histograms of pools to what a provider's readers export.

    Args:
        began: when the counting began, in nanoseconds of the wall clock.
        read: gives the readings of this moment.
    """

    def __init__(self, began: int, read: Callable[[], Iterable[Reading]]) -> None:
        self._began = began
        self._read = read
        self._attached: weakref.WeakSet[MetricReader] = weakref.WeakSet()
        self._told = False

    def attach(self, provider: Any) -> None:
        """See to it that each reader of the provider gets the histograms, from the collection under way on."""
        readers = getattr(provider, "_metric_readers", None)
        if readers is None:
            readers = getattr(getattr(provider, "_sdk_config", None), "metric_readers", None)
        if readers is None:
            if not self._told:
                logger.warning(
                    "the times of waits, uses and connects are not exported: %s is no MeterProvider of the SDK",
                    type(provider).__name__,
                )
            self._told = True
            return
        for reader in list(readers):
            if reader not in self._attached:
                self._attached.add(reader)
                self._wrap(reader)

    def _wrap(self, reader: MetricReader) -> None:
        receive = reader._receive_metrics
        preferred = reader._preferred_temporality or {}
        points = _Points(self._began, preferred.get(HistogramInstrument, AggregationTemporality.CUMULATIVE))

        def receive_with_histograms(metrics_data: MetricsData, timeout_millis: float = 10_000, **more: Any) -> None:
            found = points.metrics(self._read(), time.time_ns())
            receive(_with(metrics_data, found), timeout_millis=timeout_millis, **more)

        reader._receive_metrics = receive_with_histograms  # type: ignore[method-assign]


class _Points:
    """The data points for one reader, which wants all since the beginning, or what is new since its last collection."""

    def __init__(self, began: int, temporality: AggregationTemporality) -> None:
        self._since = began
        self._temporality = temporality
        self._last: dict[tuple[str, str], Times] = {}

    def metrics(self, readings: Iterable[Reading], now: int) -> list[Metric]:
        points: dict[str, list[HistogramDataPoint]] = {}
        for reading in readings:
            if isinstance(reading.value, Times):
                name = reading.metric.name
                times = self._new(name, reading) if self._is_delta else reading.value
                points.setdefault(name, []).append(_point(reading, times, self._since, now))
        if self._is_delta:
            self._since = now
        return [
            Metric(metric.name, metric.description, metric.unit, Histogram(points[metric.name], self._temporality))
            for metric in METRICS
            if metric.kind is Kind.HISTOGRAM and metric.name in points
        ]

    @property
    def _is_delta(self) -> bool:
        return self._temporality is AggregationTemporality.DELTA

    def _new(self, name: str, reading: Reading) -> Times:
        assert isinstance(reading.value, Times)
        key = (name, reading.attributes[POOL])
        last, self._last[key] = self._last.get(key), reading.value
        return reading.value if last is None else reading.value.since(last)


def _point(reading: Reading, times: Times, since: int, now: int) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=dict(reading.attributes),
        start_time_unix_nano=since,
        time_unix_nano=now,
        count=times.count,
        sum=times.total,
        bucket_counts=list(times.counts),
        explicit_bounds=list(BOUNDS),
        min=times.least,
        max=times.most,
    )


def _with(data: MetricsData, found: list[Metric]) -> MetricsData:
    """What was collected, and these metrics in the scope of dbkit's others."""
    return MetricsData(
        [
            ResourceMetrics(
                resource.resource,
                [
                    ScopeMetrics(scope.scope, [*scope.metrics, *found], scope.schema_url)
                    if scope.scope.name == SCOPE
                    else scope
                    for scope in resource.scope_metrics
                ],
                resource.schema_url,
            )
            for resource in data.resource_metrics
        ]
    )
