"""A pool's numbers for Prometheus (extra ``prometheus``). A checkout pays nothing: a scrape reads the statistics."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dbkit.errors import ExtraMissingError
from dbkit.metrics.names import METRICS, Kind, Metric, prometheus_label
from dbkit.metrics.published import Published
from dbkit.metrics.readings import BOUNDS, Reading, Times
from dbkit.metrics.watched import Watched

if TYPE_CHECKING:
    from collections.abc import Iterable

try:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.metrics_core import Metric as Family
    from prometheus_client.registry import Collector
except ImportError as missing:
    raise ExtraMissingError("dbkit.metrics.prometheus", "prometheus-client", "prometheus") from missing

PROCESS = "process"
"""The label that tells the processes apart, where several are scraped as one."""

_BOUNDS = [*(str(bound) for bound in BOUNDS), "+Inf"]


class PoolCollector(Collector):
    """Gives the metrics of pools to a Prometheus registry, under the names of OpenTelemetry's exporter.

    ::

        REGISTRY.register(PoolCollector(db))

    Where several processes are scraped as one (gunicorn, with ``PROMETHEUS_MULTIPROC_DIR``), make one in each worker,
    beside ``MultiProcessCollector``: each process publishes its numbers in that folder every ``every`` seconds, and
    whoever is scraped tells those of all, each with its number as the label ``process``. A process that ended is told
    of no more. After a fork the child publishes its own.

    Args:
        targets: engines on ``ElasticPool``, or managers.
        folder: where the processes publish; ``PROMETHEUS_MULTIPROC_DIR`` if None, and nowhere if that is not set.
        every: seconds between two publications.

    Raises:
        TypeError, SettingsError: as ``add``.
    """

    def __init__(self, *targets: object, folder: str | os.PathLike[str] | None = None, every: float = 5.0) -> None:
        self._watched = Watched()
        for target in targets:
            self.add(target)
        chosen = os.environ.get("PROMETHEUS_MULTIPROC_DIR") if folder is None else folder
        self._published = Published(chosen, self._watched.readings, every=every) if chosen else None

    def add(self, target: object, name: str | None = None) -> None:
        """Tell of this one too.

        Args:
            target: an engine on an ``ElasticPool``, or a ``DatabaseConnectionManager``.
            name: the pool's, for its label; its logging name, or ``host:port/database``, if None.

        Raises:
            TypeError: it has no ``ElasticPool``.
            SettingsError: another pool has that name already.
        """
        self._watched.add(target, name)

    def describe(self) -> Iterable[Family]:
        """The families without values, so that registering asks no pool."""
        return list(_families(()).values())

    def collect(self) -> Iterable[Family]:
        """The families with the values of this moment; of other processes, those last published."""
        if self._published is None:
            return list(_families((), self._watched.readings()).values())
        families = _families((PROCESS,), self._watched.readings(), str(os.getpid()))
        for process, readings in self._published.of_the_others():
            _fill(families, readings, process)
        return list(families.values())

    def close(self) -> None:
        """Publish no more, and take back what this process published."""
        if self._published is not None:
            self._published.close()


def _families(more: tuple[str, ...], readings: Iterable[Reading] = (), *values: str) -> dict[Metric, Any]:
    families = {metric: _family(metric, more) for metric in METRICS}
    _fill(families, readings, *values)
    return families


def _family(metric: Metric, more: tuple[str, ...]) -> Any:
    labels = [*(prometheus_label(attribute) for attribute in metric.attributes), *more]
    name = metric.prometheus_name
    if metric.kind is Kind.COUNTER:
        return CounterMetricFamily(name, metric.description, labels=labels)
    if metric.kind is Kind.LEVEL:
        return GaugeMetricFamily(name, metric.description, labels=labels)
    return HistogramMetricFamily(name, metric.description, labels=labels)


def _fill(families: dict[Metric, Any], readings: Iterable[Reading], *values: str) -> None:
    for reading in readings:
        labels = [*(reading.attributes[attribute] for attribute in reading.metric.attributes), *values]
        if isinstance(reading.value, Times):
            buckets = list(zip(_BOUNDS, reading.value.up_to, strict=True))
            families[reading.metric].add_metric(labels, buckets, reading.value.total)
        else:
            families[reading.metric].add_metric(labels, reading.value)
