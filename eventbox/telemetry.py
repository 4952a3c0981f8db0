"""Metrics and spans, by OpenTelemetry's API: they cost next to nothing where the application has no SDK.

How little, `python -m benchmarks.telemetry` shows.

Every metric bears the attribute `eventbox.recipient`, the recipient's monitoring string.

    eventbox.sent            events that an emit added
    eventbox.removed         events that were consumed or were garbage
    eventbox.list.duration   seconds of a listing; `eventbox.result` is ok, timeout or failure
    eventbox.size            events in a listing (bounded by max_events)
    eventbox.oldest_age      seconds since the oldest event of a listing was emitted, or fell due
    eventbox.batch.duration  seconds of a batch, from loading to the commit
    eventbox.contention      batches that lost to a concurrent writer
    eventbox.post_process.failures   callbacks that failed in a drain
    eventbox.quarantined     events that were set aside, since they failed again and again

Spans: eventbox.emit; eventbox.process_batch, with dsset.list, eventbox.prepare_mutation and eventbox.commit below it;
eventbox.quarantine, with a link to the emit of the event that it sets aside, and the span event `eventbox.quarantined`
with its ID, error and attempts.

Logs: `eventbox` tells of events that fail by themselves (WARNING) and that were set aside (ERROR); `eventbox.batch` of
each batch (see `batch_log`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from google.api_core.exceptions import DeadlineExceeded
from opentelemetry import metrics, trace
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dsset import Listing
from eventbox.events import Event
from eventbox.failure import Failure
from eventbox.recipient import Recipient

logger = logging.getLogger("eventbox")

MAX_LINKS = 128
"""Links that a span may have: the default limit of OpenTelemetry's SDK."""

_PROPAGATOR = TraceContextTextMapPropagator()
_NO_SPAN = nullcontext(INVALID_SPAN)


@cache
def library_version() -> str:
    """The version of this library, for the instruments; looked up once, for that reads a file."""
    try:
        return version("eventbox")
    except PackageNotFoundError:  # pragma: no cover - run from a source tree that is not installed
        return "unknown"


class Telemetry:
    """The instruments of one box."""

    def __init__(
        self,
        meter_provider: metrics.MeterProvider | None = None,
        tracer_provider: trace.TracerProvider | None = None,
    ) -> None:
        meter = metrics.get_meter("eventbox", library_version(), meter_provider=meter_provider)
        self._tracer = trace.get_tracer("eventbox", library_version(), tracer_provider=tracer_provider)
        self._sent = meter.create_counter("eventbox.sent", "{event}", "Events that an emit added")
        self._removed = meter.create_counter(
            "eventbox.removed", "{event}", "Events that were consumed or were garbage"
        )
        self._list_duration = meter.create_histogram("eventbox.list.duration", "s", "Duration of a listing")
        self._size = meter.create_histogram("eventbox.size", "{event}", "Events in a listing")
        self._oldest_age = meter.create_histogram(
            "eventbox.oldest_age", "s", "Time since the oldest event of a listing was emitted, or fell due"
        )
        self._batch_duration = meter.create_histogram("eventbox.batch.duration", "s", "Duration of a batch")
        self._contention = meter.create_counter(
            "eventbox.contention", "{batch}", "Batches that lost to a concurrent writer"
        )
        self._post_process_failures = meter.create_counter(
            "eventbox.post_process.failures", "{callback}", "Post-process callbacks that failed in a drain"
        )

        self._quarantined = meter.create_counter(
            "eventbox.quarantined", "{event}", "Events that were set aside, since they failed again and again"
        )

    def emitting(self, recipient: Recipient) -> AbstractContextManager[Span]:
        """A span around an emit, whose trace travels in the event: without an SDK, the one that the emit is within."""
        if type(_real(self._tracer)) is trace.NoOpTracer:
            span = trace.get_current_span()
            return _NO_SPAN if span is INVALID_SPAN else nullcontext(span)
        return self._span("eventbox.emit", SpanKind.PRODUCER, recipient)

    def sent(self, recipient: Recipient, events: int) -> None:
        if events and not _unheard_metric(self._sent):
            self._sent.add(events, _attributes(recipient))

    def removed(self, recipient: Recipient, events: int) -> None:
        if events and not _unheard_metric(self._removed):
            self._removed.add(events, _attributes(recipient))

    def post_process_failed(self, recipient: Recipient) -> None:
        self._post_process_failures.add(1, _attributes(recipient))

    @contextmanager
    def setting_aside(self, recipient: Recipient, event: Event) -> Iterator[None]:
        """A span around the attempt to set an event aside."""
        with self._span("eventbox.quarantine", recipient=recipient) as span:
            link(span, [event])
            yield

    def quarantined(self, recipient: Recipient, failure: Failure, attempts: int) -> None:
        """An event was set aside: called within `setting_aside`."""
        self._quarantined.add(1, _attributes(recipient))
        trace.get_current_span().add_event(
            "eventbox.quarantined",
            {
                "eventbox.event_id": failure.event.id,
                "eventbox.error": failure.summary,
                "eventbox.attempts": attempts,
            },
        )
        logger.error(
            "event %r of %s was set aside after %s; see `eventbox quarantine show %s`: %s\n%s",
            failure.event.id,
            recipient.path,
            f"{attempts} attempt{'s' if attempts != 1 else ''}",
            recipient.path,
            failure.summary,
            failure.traceback,  # bounded, and in UTF-8, which that of `exc_info` need not be
            extra={"recipient": recipient.path, "event_id": failure.event.id, "attempts": attempts},
        )

    def contended(self, recipient: Recipient) -> None:
        self._contention.add(1, _attributes(recipient))

    def processing(self, recipient: Recipient) -> AbstractContextManager[Span]:
        """A span around a batch; none where that goes to nobody.

        Then the current one stays that, and what a batch sends bears its trace; the batch begins none by itself.
        """
        if _unheard_spans(self._tracer):
            return _NO_SPAN
        return self._span("eventbox.process_batch", SpanKind.CONSUMER, recipient)

    def processed(self, recipient: Recipient, seconds: float) -> None:
        """A batch has ended, well or not, after so long."""
        if not _unheard_metric(self._batch_duration):
            self._batch_duration.record(seconds, _attributes(recipient))

    def not_listed(self, recipient: Recipient, error: BaseException, seconds: float) -> None:
        """A listing failed, after so long."""
        result = "timeout" if isinstance(error, DeadlineExceeded) else "failure"
        self._list_duration.record(seconds, {**_attributes(recipient), "eventbox.result": result})

    def listed(self, recipient: Recipient, listing: Listing, seconds: float) -> None:
        """How long a listing took, its size and its oldest age."""
        if _unheard_metric(self._list_duration):  # all three come from one meter
            return
        waiting_since = [
            item.created_at if item.process_after is None else max(item.created_at, item.process_after)
            for item in listing.items
        ]
        oldest = min(waiting_since, default=listing.read_time)
        age_s = max(0.0, (listing.read_time - oldest).total_seconds())
        attributes = _attributes(recipient)
        self._list_duration.record(seconds, {**attributes, "eventbox.result": "ok"})
        self._size.record(len(waiting_since), attributes)
        self._oldest_age.record(age_s, attributes)

    def step(self, name: str, whole: Span) -> AbstractContextManager[Span]:
        """A span around a part of what a span is around, which is the current one; none where there is none."""
        return _NO_SPAN if whole is INVALID_SPAN else self._span(name)

    def _span(
        self, name: str, kind: SpanKind = SpanKind.INTERNAL, recipient: Recipient | None = None
    ) -> AbstractContextManager[Span]:
        """A span, and the current one within: as `start_as_current_span`, which takes as long where nothing traces."""
        attributes = None if recipient is None else _attributes(recipient)
        span = self._tracer.start_span(name, kind=kind, attributes=attributes)
        return _NO_SPAN if span is INVALID_SPAN else trace.use_span(span, end_on_exit=True)


def traceparent_of(span: Span) -> str | None:
    """What an event carries of the span that emits it; None where that is not sampled."""
    if span is INVALID_SPAN or not span.get_span_context().trace_flags.sampled:
        return None
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
    return carrier.get("traceparent")


def link(span: Span, events: Iterable[Event]) -> None:
    """Link a span to those that emitted the events."""
    if not span.is_recording():
        return
    linked = 0
    for event in events:
        if event.traceparent is None:
            continue
        if linked == MAX_LINKS:
            return
        context = _PROPAGATOR.extract({"traceparent": event.traceparent})
        emitted = Link(trace.get_current_span(context).get_span_context())
        if emitted.context.is_valid:
            span.add_link(emitted.context)
            linked += 1


def _unheard_spans(tracer: trace.Tracer) -> bool:
    """Whether spans are recorded for nobody: no SDK is set up, or one without any span processor.

    What is not known to be one of these is heard. Amid other work the SDK takes 120 us for a span that goes nowhere,
    which is more than everything else that a batch tells.
    """
    tracer = _real(tracer)
    if type(tracer) is trace.NoOpTracer:
        return True
    processor = getattr(tracer, "span_processor", None)
    return getattr(processor, "_span_processors", None) == ()  # the SDK tells it in no other way


def _real(tracer: trace.Tracer) -> trace.Tracer:
    """What a proxy stands for: the global one, which may come later."""
    return getattr(tracer, "_tracer", tracer) if isinstance(tracer, trace.ProxyTracer) else tracer


def _unheard_metric(instrument: metrics.Instrument) -> bool:
    """Whether measurements are taken for nobody: no SDK is set up, or one without any reader.

    What is not known to be one of these is heard.
    """
    real = getattr(instrument, "_real_instrument", instrument)  # a proxy's, which may come later
    if real is None or type(real) in (metrics.NoOpCounter, metrics.NoOpHistogram):
        return True
    consumer = getattr(real, "_measurement_consumer", None)
    return getattr(consumer, "_reader_storages", None) == {}  # the SDK tells it in no other way


def _attributes(recipient: Recipient) -> dict[str, str]:
    return {"eventbox.recipient": recipient.monitoring_string}
