"""Metrics and spans of a worker's requests.

    eventbox.worker.requests   requests, with `eventbox.kind` (wake, task, sweep, other), `eventbox.outcome`, for a
                               wake-up `eventbox.recipient` (the monitoring string), for a task `eventbox.task` (its
                               path)
    eventbox.worker.duration   seconds of a request, with the same attributes

Spans: eventbox.wake, eventbox.task and eventbox.sweep, in the trace of the request that came in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers

from dsset.clock import Clock
from eventbox.tasks.outcomes import Answer, Kind

_PROPAGATOR = TraceContextTextMapPropagator()
_CLOUD_TRACE = re.compile(r"([0-9a-fA-F]{32})/([0-9]{1,20})(?:;o=([0-9]))?")
"""The header X-Cloud-Trace-Context, which Google's load balancers set: TRACE_ID/SPAN_ID;o=OPTIONS."""


class RequestTelemetry:
    """The instruments of one worker."""

    def __init__(
        self,
        clock: Clock,
        meter_provider: metrics.MeterProvider | None,
        tracer_provider: trace.TracerProvider | None,
    ) -> None:
        self._clock = clock
        meter = metrics.get_meter("eventbox.tasks", meter_provider=meter_provider)
        self._tracer = trace.get_tracer("eventbox.tasks", tracer_provider=tracer_provider)
        self._requests = meter.create_counter("eventbox.worker.requests", "{request}", "Requests to a worker")
        self._duration = meter.create_histogram("eventbox.worker.duration", "s", "Duration of a request")

    @contextmanager
    def request(self, kind: Kind, headers: Headers) -> Iterator[Span]:
        """A span around a request, in the trace that it belongs to."""
        with self._tracer.start_as_current_span(
            f"eventbox.{kind.value}", context=_context(headers), kind=SpanKind.SERVER
        ) as span:
            yield span

    def answered(self, span: Span, kind: Kind, task: str | None, answer: Answer, began: float) -> None:
        """Count an answer to a request that began then (on the clock), and note it on its span."""
        attributes = {"eventbox.kind": kind.value, "eventbox.outcome": answer.outcome.label}
        if answer.recipient is not None:
            attributes["eventbox.recipient"] = answer.recipient.monitoring_string
        if task is not None:
            attributes["eventbox.task"] = task
        self._requests.add(1, attributes)
        self._duration.record(self._clock.monotonic() - began, attributes)
        span.set_attributes({**attributes, "http.response.status_code": answer.outcome.status})
        if answer.error is not None:
            span.record_exception(answer.error)
        if answer.outcome.status >= 500:
            span.set_status(StatusCode.ERROR, answer.reason)


def _context(headers: Headers) -> Context | None:
    """The trace of a request: the current one where the application around it has begun one, else its headers'."""
    if trace.get_current_span().get_span_context().is_valid:
        return None
    context = _PROPAGATOR.extract(dict(headers))
    if trace.get_current_span(context).get_span_context().is_valid:
        return context
    found = _CLOUD_TRACE.match(headers.get("x-cloud-trace-context", ""))
    if found is None:
        return None
    parent = SpanContext(
        trace_id=int(found[1], 16),
        span_id=int(found[2]) & (2**64 - 1),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if found[3] == "1" else TraceFlags.DEFAULT),
    )
    return trace.set_span_in_context(NonRecordingSpan(parent)) if parent.is_valid else None
