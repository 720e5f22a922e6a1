"""Spans of waits, connects and statements, in the trace of the caller.

A wait and a connect are told of when they are over, in the context of the borrower that they were for; a span of each
is made then, with its true times, where that borrower is in a trace. A statement has a span of its own in any case.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from sqlalchemy import event

from dbkit.events import NotServed, Observer, Opened, OpenFailed, Waited
from dbkit.metrics.names import POOL
from dbkit.metrics.sdk import SCOPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span, Tracer, TracerProvider
    from sqlalchemy import Engine
    from sqlalchemy.engine import ExceptionContext

_SPANS = "dbkit_spans"
"""In a connection's ``info``: the spans of the statements that run on it, the innermost last."""


def trace_engine(engine: Engine, pool_name: str, provider: TracerProvider | None) -> Callable[[], None]:
    """Make spans of what this engine and its pool do. Returns what ends that."""
    tracer = trace.get_tracer(SCOPE, tracer_provider=provider)
    attributes = _attributes_of(engine)
    observer = _PoolSpans(tracer, {**attributes, POOL: pool_name})
    statements = _StatementSpans(tracer, attributes)
    engine.pool.add_observer(observer)  # type: ignore[attr-defined]
    listeners = (
        ("before_cursor_execute", statements.begin),
        ("after_cursor_execute", statements.end),
        ("handle_error", statements.fail),
    )
    for what, listener in listeners:
        event.listen(engine, what, listener)

    def stop() -> None:
        observer.is_on = False
        for what, listener in listeners:
            if event.contains(engine, what, listener):
                event.remove(engine, what, listener)

    return stop


def _attributes_of(engine: Engine) -> dict[str, str | int]:
    url = engine.url
    attributes: dict[str, str | int] = {"db.system.name": engine.dialect.name}
    if url.database:
        attributes["db.namespace"] = url.database
    if url.host:
        attributes["server.address"] = url.host
        attributes["server.port"] = url.port or 5432
    return attributes


class _PoolSpans(Observer):
    def __init__(self, tracer: Tracer, attributes: dict[str, Any]) -> None:
        self.is_on = True
        self._tracer = tracer
        self._attributes = attributes

    def waited(self, fact: Waited) -> None:
        self._add("wait for a connection", fact.seconds, SpanKind.INTERNAL)

    def not_served(self, fact: NotServed) -> None:
        self._add("wait for a connection", fact.seconds, SpanKind.INTERNAL, fact.error)

    def opened(self, fact: Opened) -> None:
        self._add("connect", fact.seconds, SpanKind.CLIENT)

    def open_failed(self, fact: OpenFailed) -> None:
        self._add("connect", 0.0, SpanKind.CLIENT, fact.error)

    def _add(self, name: str, seconds: float, kind: SpanKind, error: BaseException | None = None) -> None:
        if not self.is_on or not trace.get_current_span().get_span_context().is_valid:
            return
        now = time.time_ns()
        span = self._tracer.start_span(
            name, kind=kind, attributes=self._attributes, start_time=now - int(seconds * 1e9)
        )
        if error is not None:
            _failed(span, error)
        span.end(now)


class _StatementSpans:
    def __init__(self, tracer: Tracer, attributes: dict[str, Any]) -> None:
        self._tracer = tracer
        self._attributes = attributes

    def begin(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        words = statement.split(None, 1)
        operation = words[0].upper() if words and words[0].isalpha() else "statement"
        attributes = {**self._attributes, "db.operation.name": operation}
        if parameters:  # its values are bound; a text without parameters may hold them
            attributes["db.query.text"] = statement
        if executemany and len(parameters) > 1:
            attributes["db.operation.batch.size"] = len(parameters)
        namespace = attributes.get("db.namespace")
        name = f"{operation} {namespace}" if namespace else operation
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        connection.info.setdefault(_SPANS, []).append(span)

    def end(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        spans = connection.info.get(_SPANS)
        if spans:
            spans.pop().end()

    def fail(self, context: ExceptionContext) -> None:
        connection: Any = context.connection
        if connection is None or context.statement is None or connection.invalidated:
            return
        spans = connection.info.get(_SPANS)
        if spans:
            span = spans.pop()
            _failed(span, context.original_exception)
            span.end()


def _failed(span: Span, error: BaseException) -> None:
    """Mark it. The error's text stays out: the server's may hold values."""
    span.set_status(Status(StatusCode.ERROR, type(error).__name__))
    span.set_attribute("error.type", type(error).__qualname__)
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state:
        span.set_attribute("db.response.status_code", state)
