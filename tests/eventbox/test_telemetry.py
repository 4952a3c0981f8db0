"""Metrics and spans, as an application's SDK gets them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.cloud.firestore import AsyncClient
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from emulator.firestore import Emulator, Fault
from eventbox import ContentionError, EventBox, Mutation, NewEvent, Recipient, Transaction
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.poisoned import Poisoned, PoisonError
from tests.eventbox.support import Deciding, Recording, consume_all, emit


class Recorder:
    """An SDK that keeps everything in memory."""

    def __init__(self, **tracing: Any) -> None:
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._reader])
        self.tracer_provider = TracerProvider(**tracing)
        self._exporter = InMemorySpanExporter()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> list[Any]:
        return list(self._exporter.get_finished_spans())

    def metric(self, name: str) -> list[Any]:
        """The data points of a metric."""
        data: Any = self._reader.get_metrics_data()
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def box(local_client: AsyncClient, clock: ManualClock, recorder: Recorder) -> EventBox:
    return EventBox(
        local_client,
        clock=clock,
        meter_provider=recorder.meter_provider,
        tracer_provider=recorder.tracer_provider,
    )


@pytest.fixture
def to(local_client: AsyncClient) -> Recipient:
    return Recipient(local_client.document("orders/1"), "order")


async def test_every_metric_bears_the_monitoring_string(
    box: EventBox, to: Recipient, recorder: Recorder, clock: ManualClock, emulator: Emulator
) -> None:
    await box.emit_many([NewEvent(b"", id=str(n)) for n in range(3)], to)
    await box.emit(b"", to, id="0")
    clock.advance(timedelta(seconds=90))
    emulator.faults.add(Fault(rpc="Commit", latency=timedelta(seconds=2)))
    await while_advancing(clock, box.process_batch(to, Recording(to)))

    async def emit(transaction: Transaction) -> None:
        await box.emit(b"", to, transaction=transaction)

    await box.run_in_transaction(emit)
    await box.process_batch(to, Deciding(to, lambda events, _: Mutation(garbage=events)))
    sent, removed = recorder.metric("eventbox.sent"), recorder.metric("eventbox.removed")
    assert [(point.value, dict(point.attributes)) for point in sent] == [(4, {"eventbox.recipient": "order"})]
    assert [point.value for point in removed] == [4]
    (size,), (age,) = recorder.metric("eventbox.size"), recorder.metric("eventbox.oldest_age")
    assert (size.sum, size.count, size.max) == (4, 2, 3)
    assert 89 < age.max < 91
    (duration,) = recorder.metric("eventbox.batch.duration")
    assert (duration.count, round(duration.max)) == (2, 2)
    (listing,) = recorder.metric("eventbox.list.duration")
    assert dict(listing.attributes) == {"eventbox.recipient": "order", "eventbox.result": "ok"}


async def test_contention_is_counted(
    box: EventBox, to: Recipient, recorder: Recorder, emulator: Emulator
) -> None:
    await box.emit(b"", to)
    emulator.faults.add(Fault(rpc="Commit", error="ABORTED"))
    with pytest.raises(ContentionError):
        await box.process_batch(to, Recording(to))
    assert [point.value for point in recorder.metric("eventbox.contention")] == [1]


@pytest.mark.parametrize(
    ("code", "result"), [("PERMISSION_DENIED", "failure"), ("DEADLINE_EXCEEDED", "timeout")]
)
async def test_a_listing_that_fails_is_told_apart_from_one_that_takes_too_long(
    box: EventBox,
    to: Recipient,
    recorder: Recorder,
    emulator: Emulator,
    clock: ManualClock,
    code: str,
    result: str,
) -> None:
    emulator.faults.add(Fault(rpc="RunQuery", error=code, times=None))
    with pytest.raises(Exception, match="injected") as caught:
        await while_advancing(clock, box.process_batch(to, Recording(to)))
    assert isinstance(caught.value, DeadlineExceeded) == (result == "timeout")
    (point,) = recorder.metric("eventbox.list.duration")
    assert point.attributes["eventbox.result"] == result


async def test_callbacks_that_fail_in_a_drain_are_counted(
    box: EventBox, to: Recipient, recorder: Recorder
) -> None:
    await box.emit(b"", to)

    async def fail() -> None:
        raise RuntimeError

    await box.drain(to, Deciding(to, consume_all({"n": 1}, post_process=fail)))
    assert [point.value for point in recorder.metric("eventbox.post_process.failures")] == [1]


async def test_an_event_that_is_set_aside_is_counted_traced_and_logged(
    local_client: AsyncClient, to: Recipient, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    box = EventBox(
        local_client,
        quarantine_after=2,
        meter_provider=recorder.meter_provider,
        tracer_provider=recorder.tracer_provider,
    )
    await emit(box, to, "good", "bad")
    with pytest.raises(PoisonError):
        await box.drain(to, Poisoned(to))
    assert recorder.metric("eventbox.quarantined") == []
    (record,) = [one for one in caplog.records if one.name == "eventbox"]
    assert (record.levelname, "attempt 1 of 2" in record.message) == ("WARNING", True)
    caplog.clear()
    await box.drain(to, Poisoned(to))
    (point,) = recorder.metric("eventbox.quarantined")
    assert (point.value, dict(point.attributes)) == (1, {"eventbox.recipient": "order"})
    spans = {span.name: span for span in recorder.spans}
    span = spans["eventbox.quarantine"]
    assert [link.context.span_id for link in span.links] == [spans["eventbox.emit"].context.span_id]
    (happened,) = span.events
    assert happened.name == "eventbox.quarantined"
    assert dict(happened.attributes) == {
        "eventbox.event_id": "bad",
        "eventbox.error": "PoisonError: cannot read bad",
        "eventbox.attempts": 2,
    }
    (record,) = [one for one in caplog.records if one.name == "eventbox"]
    assert (record.levelname, record.recipient, record.event_id) == ("ERROR", "orders/1", "bad")  # type: ignore[attr-defined]
    assert "cannot read bad" in record.message


async def test_the_spans_of_a_batch_lie_below_it(box: EventBox, to: Recipient, recorder: Recorder) -> None:
    await box.emit(b"", to)
    await box.process_batch(to, Recording(to))
    spans = {span.name: span for span in recorder.spans}
    batch = spans["eventbox.process_batch"]
    for name in ("dsset.list", "eventbox.prepare_mutation", "eventbox.commit"):
        assert spans[name].parent.span_id == batch.context.span_id
    assert batch.attributes["eventbox.recipient"] == "order"


async def test_listings_ahead_belong_to_batches_that_have_not_ended(
    box: EventBox, to: Recipient, recorder: Recorder, emulator: Emulator, clock: ManualClock
) -> None:
    await emit(box, to, *(str(n) for n in range(12)))
    for rpc, seconds in {"RunQuery": 3, "Commit": 1}.items():
        emulator.faults.add(Fault(rpc=rpc, latency=timedelta(seconds=seconds), times=None))
    await while_advancing(clock, box.drain(to, Recording(to), max_events=2))
    batches = {span.context.span_id: span for span in recorder.spans if span.name == "eventbox.process_batch"}
    listings = [span for span in recorder.spans if span.name == "dsset.list"]
    assert len(listings) >= 7
    for listing in listings:
        assert listing.start_time <= batches[listing.parent.span_id].end_time


async def test_a_batch_links_to_the_emits_of_the_events_that_it_consumed(
    box: EventBox, to: Recipient, recorder: Recorder
) -> None:
    await box.emit(b"", to, id="a")
    await box.emit(b"", to, id="b")

    async def emit(transaction: Transaction) -> None:
        await box.emit(b"", to, id="c", transaction=transaction)

    await box.run_in_transaction(emit)
    await box.process_batch(to, Recording(to))
    emits = {span.context.span_id for span in recorder.spans if span.name == "eventbox.emit"}
    (batch,) = [span for span in recorder.spans if span.name == "eventbox.process_batch"]
    assert {link.context.span_id for link in batch.links} == emits
    assert len(emits) == 3


async def test_links_are_bounded_by_what_a_span_may_have(
    box: EventBox, to: Recipient, recorder: Recorder
) -> None:
    await box.emit_many([NewEvent(b"") for _ in range(200)], to)
    await box.process_batch(to, Recording(to))
    (batch,) = [span for span in recorder.spans if span.name == "eventbox.process_batch"]
    assert len(batch.links) == 128


async def test_the_trace_of_an_emit_that_is_not_sampled_does_not_travel(
    local_client: AsyncClient, to: Recipient
) -> None:
    recorder = Recorder(sampler=ALWAYS_OFF)
    box = EventBox(local_client, tracer_provider=recorder.tracer_provider)
    await box.emit(b"", to)
    (document,) = [snapshot async for snapshot in local_client.collection_group("eventbox_inbox").stream()]
    assert "metadata" not in document.to_dict()


async def test_a_failed_batch_marks_its_span(box: EventBox, to: Recipient, recorder: Recorder) -> None:
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await box.process_batch(to, Deciding(to, fail))
    (batch,) = [span for span in recorder.spans if span.name == "eventbox.process_batch"]
    assert not batch.status.is_ok
