"""A pool's numbers and spans for OpenTelemetry (extra ``otel``).

Nothing is done at a checkout that finds a connection: a collection reads the pool's statistics, and its histograms as
the pool counted them (``sdk.py``). Spans are made of waits, connects and statements.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from dbkit.errors import ExtraMissingError
from dbkit.metrics.names import METRICS, Kind, Metric
from dbkit.metrics.readings import Reading, Times
from dbkit.metrics.watched import Watched, engine_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

try:
    from opentelemetry import metrics
    from opentelemetry.metrics import CallbackOptions, Observation

    from dbkit.metrics.sdk import SCOPE, Histograms
    from dbkit.metrics.tracing import trace_engine
except ImportError as missing:
    raise ExtraMissingError("dbkit.metrics.otel", "opentelemetry-sdk", "otel") from missing

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import TracerProvider


class Instrumentation:
    """What ``instrument`` began; ``stop()`` ends it."""

    def __init__(self, name: str, meters: _Meters, stop_spans: Callable[[], None] | None) -> None:
        self.name = name
        self._meters = meters
        self._stop_spans = stop_spans

    def stop(self) -> None:
        """Export nothing of this pool any more. May be called again."""
        self._meters.watched.remove(self.name)
        if self._stop_spans is not None:
            self._stop_spans()


def instrument(
    target: object,
    *,
    name: str | None = None,
    meter_provider: MeterProvider | None = None,
    tracer_provider: TracerProvider | None = None,
    spans: bool = True,
) -> Instrumentation:
    """Export a pool's metrics, and spans of its waits, connects and statements, with OpenTelemetry.

    May be called before the program sets its providers. After ``engine.dispose()`` it goes on with the new pool.

    Args:
        target: an engine on an ``ElasticPool``, or a ``DatabaseConnectionManager``.
        name: the pool's, for its attribute; its logging name, or ``host:port/database``, if None.
        meter_provider: the SDK's, for metrics; the process's if None.
        tracer_provider: for spans; the process's if None.
        spans: make spans too. Leave it out where another instrumentation makes those of statements.

    Raises:
        TypeError: it has no ``ElasticPool``.
        SettingsError: another pool has that name already.
    """
    meters = _meters_of(meter_provider)
    chosen = meters.watched.add(target, name)
    stop = trace_engine(engine_of(target), chosen, tracer_provider) if spans else None
    return Instrumentation(chosen, meters, stop)


class _Meters:
    """The instruments of one provider. Made once: the SDK has no second instrument of a name."""

    def __init__(self, meter: Meter, provider: Callable[[], Any]) -> None:
        self.watched = Watched()
        self._provider = provider
        self._histograms = Histograms(time.time_ns(), self.watched.readings)
        self._readings: list[Reading] = []
        for place, metric in enumerate(metric for metric in METRICS if metric.kind is not Kind.HISTOGRAM):
            observers = [self._observer_of(metric, is_first=place == 0)]
            if metric.kind is Kind.COUNTER:
                meter.create_observable_counter(metric.name, observers, metric.unit, metric.description)
            else:
                meter.create_observable_up_down_counter(metric.name, observers, metric.unit, metric.description)

    def _observer_of(self, metric: Metric, *, is_first: bool) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            if is_first:  # of a collection: all that follow in it tell of the same moment
                self._readings = list(self.watched.readings())
                self._histograms.attach(self._provider())
            return [
                Observation(reading.value, dict(reading.attributes))
                for reading in self._readings
                if reading.metric is metric and not isinstance(reading.value, Times)
            ]

        return observe


_lock = threading.Lock()
_of_the_process: list[_Meters] = []
_of_providers: weakref.WeakKeyDictionary[MeterProvider, _Meters] = weakref.WeakKeyDictionary()


def _meters_of(provider: MeterProvider | None) -> _Meters:
    with _lock:
        if provider is None or provider is metrics.get_meter_provider():
            if not _of_the_process:
                _of_the_process.append(_Meters(metrics.get_meter(SCOPE), metrics.get_meter_provider))
            return _of_the_process[0]
        found = _of_providers.get(provider)
        if found is None:
            reference = weakref.ref(provider)
            found = _of_providers[provider] = _Meters(provider.get_meter(SCOPE), reference)
        return found
