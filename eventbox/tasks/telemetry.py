"""Metrics and spans of tasks, by OpenTelemetry's API.

    eventbox.tasks.created              tasks that Cloud Tasks was asked for; `eventbox.kind` is task or wake_up,
                                        `eventbox.result` created or existed
    eventbox.tasks.failures             tasks that it did not take; `eventbox.kind`, and `eventbox.transient`
    eventbox.tasks.reminders.swept      reminders that the sweeper finished, or could not: `eventbox.result` is created
                                        or failed
    eventbox.tasks.reminders.age        seconds by which a reminder was stale when the sweeper found it
    eventbox.tasks.sweep.duration       seconds of a sweep

Each bears `eventbox.queue`. Spans: eventbox.tasks.create, eventbox.tasks.sweep.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind

from dsset.clock import Clock
from eventbox.telemetry import library_version


class TasksTelemetry:
    """The instruments of one queue."""

    def __init__(
        self,
        queue: str,
        clock: Clock,
        meter_provider: metrics.MeterProvider | None = None,
        tracer_provider: trace.TracerProvider | None = None,
    ) -> None:
        self._clock = clock
        self._queue = {"eventbox.queue": queue.rpartition("/")[2]}
        meter = metrics.get_meter("eventbox", library_version(), meter_provider=meter_provider)
        self._tracer = trace.get_tracer("eventbox", library_version(), tracer_provider=tracer_provider)
        self._created = meter.create_counter("eventbox.tasks.created", "{task}", "Tasks that are on a queue")
        self._failures = meter.create_counter(
            "eventbox.tasks.failures", "{task}", "Tasks that Cloud Tasks did not take"
        )
        self._swept = meter.create_counter(
            "eventbox.tasks.reminders.swept", "{reminder}", "Reminders that a sweep found stale"
        )
        self._age = meter.create_histogram(
            "eventbox.tasks.reminders.age", "s", "By how much a reminder was stale when a sweep found it"
        )
        self._sweep_duration = meter.create_histogram(
            "eventbox.tasks.sweep.duration", "s", "Duration of a sweep"
        )

    @contextmanager
    def creating(self, kind: str) -> Iterator[Span]:
        """A span around the creation of a task."""
        with self._tracer.start_as_current_span(
            "eventbox.tasks.create", kind=SpanKind.PRODUCER, attributes={**self._queue, "eventbox.kind": kind}
        ) as span:
            yield span

    def created(self, kind: str, result: str) -> None:
        self._created.add(1, {**self._queue, "eventbox.kind": kind, "eventbox.result": result})

    def failed(self, kind: str, *, transient: bool) -> None:
        self._failures.add(1, {**self._queue, "eventbox.kind": kind, "eventbox.transient": transient})

    @contextmanager
    def sweeping(self) -> Iterator[Span]:
        """A span around a sweep, and its duration."""
        began = self._clock.monotonic()
        try:
            with self._tracer.start_as_current_span("eventbox.tasks.sweep", attributes=self._queue) as span:
                yield span
        finally:
            self._sweep_duration.record(self._clock.monotonic() - began, self._queue)

    def found_stale(self, fresh_until: datetime, read_time: datetime) -> None:
        self._age.record(max(0.0, (read_time - fresh_until).total_seconds()), self._queue)

    def swept(self, *, created: int, failed: int) -> None:
        if created:
            self._swept.add(created, {**self._queue, "eventbox.result": "created"})
        if failed:
            self._swept.add(failed, {**self._queue, "eventbox.result": "failed"})
