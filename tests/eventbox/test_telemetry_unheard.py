"""Where OpenTelemetry has nobody who hears, a batch tells it nothing; and whoever comes later hears all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics._internal.measurement_consumer import SynchronousMeasurementConsumer
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from emulator.firestore import Emulator, Fault
from eventbox import EmitError, EventBox, Mutation, Recipient
from tests.eventbox.support import Deciding, consume_all

ROOT = Path(__file__).parents[2]

SPANS = [
    "dsset.list",
    "eventbox.commit",
    "eventbox.emit",
    "eventbox.prepare_mutation",
    "eventbox.process_batch",
]
METRICS = [
    "eventbox.batch.duration",
    "eventbox.list.duration",
    "eventbox.oldest_age",
    "eventbox.removed",
    "eventbox.sent",
    "eventbox.size",
]
"""What an emit and a batch of it tell, sorted."""

SDK_COMES_LATER = """
import asyncio
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from emulator.firestore import Emulator
from eventbox import EventBox, Recipient
from tests.eventbox.support import Deciding, consume_all

async def main():
    client = Emulator().client()
    box = EventBox(client)
    to = Recipient(client.document("orders/1"), "order")
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    await box.emit(b"", to, id="a")
    await box.emit(b"", to, id="b")
    await box.process_batch(to, Deciding(to, consume_all({"n": 1})), max_events=1)
    print(len(exporter.get_finished_spans()))
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([reader]))
    await box.emit(b"", to, id="c")
    await box.process_batch(to, Deciding(to, consume_all({"n": 2})))
    spans = {span.name: span for span in exporter.get_finished_spans()}
    (link,) = spans["eventbox.process_batch"].links
    assert link.context.span_id == spans["eventbox.emit"].context.span_id
    print(sorted(span.name for span in exporter.get_finished_spans()))
    data = reader.get_metrics_data()
    print(sorted({
        metric.name
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name.startswith("eventbox.")
    }))

asyncio.run(main())
"""


class CountingIds(RandomIdGenerator):
    """Counts the spans that are made."""

    spans = 0

    def generate_span_id(self) -> int:
        self.spans += 1
        return super().generate_span_id()


@pytest.fixture
def to(local_client: AsyncClient) -> Recipient:
    return Recipient(local_client.document("orders/1"), "order")


async def test_where_spans_go_to_nobody_a_batch_makes_none(local_client: AsyncClient, to: Recipient) -> None:
    ids = CountingIds()
    provider = TracerProvider(id_generator=ids, shutdown_on_exit=False)
    box = EventBox(local_client, tracer_provider=provider)
    seen: list[trace.SpanContext] = []

    def decide(events: Any, state: Any) -> Mutation[Any]:
        seen.append(trace.get_current_span().get_span_context())
        return consume_all({"n": 1})(events, state)

    async def spans_of_a_batch() -> int:
        await box.emit(b"", to)
        (event,) = await box.list_events(to)
        assert event.traceparent is not None  # which may well be exported elsewhere
        before = ids.spans
        await box.process_batch(to, Deciding(to, decide))
        return ids.spans - before

    assert await spans_of_a_batch() == 0
    with provider.get_tracer("application").start_as_current_span("request") as request:
        assert await spans_of_a_batch() == 0
    provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))  # though the box is older
    assert await spans_of_a_batch() == 4
    # what the processor sends bears the trace of the request
    assert [context.is_valid for context in seen] == [False, True, True]
    assert seen[1] == request.get_span_context()


async def test_where_metrics_are_read_by_nobody_a_batch_measures_nothing(
    local_client: AsyncClient, to: Recipient, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    consumed = SynchronousMeasurementConsumer.consume_measurement

    def count(self: SynchronousMeasurementConsumer, measurement: Any) -> None:
        measured.append(measurement.instrument.name)
        consumed(self, measurement)

    monkeypatch.setattr(SynchronousMeasurementConsumer, "consume_measurement", count)

    async def measured_in_a_batch(*readers: MetricReader) -> list[str]:
        meter_provider = MeterProvider(readers, shutdown_on_exit=False)
        box = EventBox(local_client, meter_provider=meter_provider)
        measured.clear()
        await box.emit(b"", to)
        await box.process_batch(to, Deciding(to, consume_all({"n": 1})))
        return sorted(measured)

    assert await measured_in_a_batch() == []
    assert await measured_in_a_batch(InMemoryMetricReader()) == METRICS


def test_an_sdk_that_is_set_up_after_the_box_hears_it_all() -> None:
    """In a process of its own, since the global providers can be set once."""
    done = subprocess.run(
        [sys.executable, "-c", SDK_COMES_LATER], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    before, after, measured = done.stdout.splitlines()
    assert before == "0"
    assert (after, measured) == (str(SPANS), str(METRICS))


class ForeignTracer(trace.Tracer):
    """One of a vendor: it says nothing of processors, and what it calls `_tracer` is its own affair."""

    def __init__(self, vendors: trace.Tracer) -> None:
        self._vendors = vendors
        self._tracer = trace.NoOpTracer()

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        return self._vendors.start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._vendors.start_as_current_span(*args, **kwargs)


class ForeignTracerProvider(trace.TracerProvider):
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self._vendors = TracerProvider(shutdown_on_exit=False)
        self._vendors.add_span_processor(SimpleSpanProcessor(self.exporter))

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        return ForeignTracer(self._vendors.get_tracer(*args, **kwargs))


class ForeignInstrument(metrics.Counter, metrics.Histogram):
    def __init__(self, name: str, told: list[str]) -> None:
        self._name = name
        self._told = told

    def add(self, *args: Any, **kwargs: Any) -> None:
        self._told.append(self._name)

    record = add


class ForeignMeter(metrics.NoOpMeter):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.told: list[str] = []

    def create_counter(self, name: str, *_: Any, **__: Any) -> metrics.Counter:
        return ForeignInstrument(name, self.told)

    def create_histogram(self, name: str, *_: Any, **__: Any) -> metrics.Histogram:
        return ForeignInstrument(name, self.told)


class ForeignMeterProvider(metrics.MeterProvider):
    def __init__(self) -> None:
        self.meter = ForeignMeter("foreign")

    def get_meter(self, *args: Any, **kwargs: Any) -> metrics.Meter:
        return self.meter


async def test_what_is_not_the_sdk_hears_it_all(local_client: AsyncClient, to: Recipient) -> None:
    tracing, metering = ForeignTracerProvider(), ForeignMeterProvider()
    box = EventBox(local_client, tracer_provider=tracing, meter_provider=metering)
    await box.emit(b"", to)
    await box.process_batch(to, Deciding(to, consume_all({"n": 1})))
    assert sorted(span.name for span in tracing.exporter.get_finished_spans()) == SPANS
    assert sorted(metering.meter.told) == METRICS


async def test_without_an_sdk_an_event_bears_the_trace_that_it_is_emitted_in(
    local_client: AsyncClient, to: Recipient, emulator: Emulator
) -> None:
    box = EventBox(local_client, tracer_provider=trace.NoOpTracerProvider())
    application = TracerProvider(shutdown_on_exit=False).get_tracer("application")
    await box.emit(b"", to, id="outside")
    with application.start_as_current_span("request") as request:
        await box.emit(b"", to, id="within")
        emulator.faults.add(Fault(rpc="BatchWrite", error="PERMISSION_DENIED"))
        with pytest.raises(EmitError):
            await box.emit(b"", to, id="failed")
        assert request.is_recording()  # the application ends it, and tells of what failed
        assert isinstance(request, ReadableSpan)
        assert not request.events
    context = request.get_span_context()
    of = {event.id: event.traceparent for event in await box.list_events(to)}
    assert of == {
        "outside": None,
        "within": f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}",
    }
