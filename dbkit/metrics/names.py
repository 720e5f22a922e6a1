"""Every name that dbkit exports, in one table: metrics, their attributes, and the fields of log lines.

What OpenTelemetry's semantic conventions name has their name, unit and attributes; what they do not name begins with
``dbkit``. Prometheus gets the names that OpenTelemetry's exporter makes of these, so one dashboard serves both.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

POOL: Final = "db.client.connection.pool.name"
STATE: Final = "db.client.connection.state"
REASON: Final = "dbkit.close.reason"


class Kind(Enum):
    """What a metric is."""

    LEVEL = "up-down counter"
    """May go down again; a gauge for Prometheus."""
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: OpenTelemetry's.
        kind: what it is.
        unit: OpenTelemetry's.
        description: one line.
        attribute: the attribute it has beside the pool's name; None for none.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    attribute: str | None = None

    @property
    def prometheus_name(self) -> str:
        """The name of the family, as Prometheus shows it: of a counter with ``_total``, of a time with ``_seconds``."""
        name = prometheus_label(self.name) + ("_seconds" if self.unit == "s" else "")
        return f"{name}_total" if self.kind is Kind.COUNTER else name

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of its attributes."""
        return (POOL,) if self.attribute is None else (POOL, self.attribute)


def prometheus_label(attribute: str) -> str:
    """An attribute's name, or a metric's, with the letters that Prometheus takes."""
    return attribute.replace(".", "_")


COUNT: Final = Metric(
    "db.client.connection.count", Kind.LEVEL, "{connection}", "Connections by state: idle, used, opening.", STATE
)
IDLE_MAX: Final = Metric("db.client.connection.idle.max", Kind.LEVEL, "{connection}", "Most connections idle.")
IDLE_MIN: Final = Metric("db.client.connection.idle.min", Kind.LEVEL, "{connection}", "The pool's min_size.")
MAX: Final = Metric("db.client.connection.max", Kind.LEVEL, "{connection}", "The pool's max_size.")
PENDING: Final = Metric("db.client.connection.pending_requests", Kind.LEVEL, "{request}", "Borrowers standing in line.")
TIMEOUTS: Final = Metric("db.client.connection.timeouts", Kind.COUNTER, "{timeout}", "Borrowers that timed out.")
CREATE_TIME: Final = Metric(
    "db.client.connection.create_time", Kind.HISTOGRAM, "s", "How long successful connection attempts took."
)
WAIT_TIME: Final = Metric(
    "db.client.connection.wait_time", Kind.HISTOGRAM, "s", "How long borrowers that stood in line waited."
)
USE_TIME: Final = Metric("db.client.connection.use_time", Kind.HISTOGRAM, "s", "How long connections were out.")
BORROWS: Final = Metric("dbkit.connection.borrows", Kind.COUNTER, "{borrow}", "Connections borrowed.")
REFUSED: Final = Metric("dbkit.connection.refused", Kind.COUNTER, "{borrow}", "Borrowers refused: the line was full.")
OPENED: Final = Metric("dbkit.connection.opened", Kind.COUNTER, "{connection}", "Connections opened.")
OPEN_FAILURES: Final = Metric(
    "dbkit.connection.open_failures", Kind.COUNTER, "{attempt}", "Connection attempts that failed."
)
CLOSED: Final = Metric(
    "dbkit.connection.closed", Kind.COUNTER, "{connection}", "Connections closed, by reason.", REASON
)
LEAKS: Final = Metric("dbkit.connection.leaks", Kind.COUNTER, "{borrow}", "Borrows reported as leaked.")

METRICS: Final = (
    COUNT, IDLE_MAX, IDLE_MIN, MAX, PENDING, TIMEOUTS, CREATE_TIME, WAIT_TIME, USE_TIME,
    BORROWS, REFUSED, OPENED, OPEN_FAILURES, CLOSED, LEAKS,
)  # fmt: skip
"""All metrics, in the order in which they are shown."""
