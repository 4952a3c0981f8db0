"""The trace that a request belongs to, its metrics, and its logs' place in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from eventbox.tasks import CloudLoggingFormatter, Task, TaskRequest
from tests.eventbox.support import emit
from tests.eventbox.tasks.worker.house import WAKE, House
from tests.eventbox.tasks.worker.requesting import call

TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736
SPAN = 0x00F067AA0BA902B7
TRACEPARENT = f"00-{TRACE:032x}-{SPAN:016x}-01"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What a service's log would hold, as Cloud Logging is given it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(CloudLoggingFormatter("demo"))
    logger = logging.getLogger("eventbox.tasks")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(before)


def spans(house: House, name: str) -> list[Any]:
    return [span for span in house.recorder.spans if span.name == name]


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": TRACEPARENT},
        {"X-Cloud-Trace-Context": f"{TRACE:032x}/{SPAN};o=1"},
        {"traceparent": TRACEPARENT, "X-Cloud-Trace-Context": f"{7:032x}/7;o=1"},
        {"traceparent": "nonsense", "X-Cloud-Trace-Context": f"{TRACE:032x}/{SPAN};o=1"},
    ],
    ids=lambda headers: "+".join(headers),
)
async def test_a_request_goes_on_in_the_trace_that_it_came_in(
    house: House, headers: dict[str, str], lines: io.StringIO
) -> None:
    order = house.order()
    await emit(house.box, order, "a")

    await call(house.worker.app, WAKE, house.wake_up(order), headers=headers)

    [request] = spans(house, "eventbox.wake")
    assert request.context.trace_id == TRACE
    assert request.parent.span_id == SPAN
    [batch] = spans(house, "eventbox.process_batch")
    assert batch.context.trace_id == TRACE
    assert batch.parent.span_id == request.context.span_id
    entry = json.loads(lines.getvalue())
    assert entry["logging.googleapis.com/trace"] == f"projects/demo/traces/{TRACE:032x}"
    assert entry["logging.googleapis.com/spanId"] == f"{request.context.span_id:016x}"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": "00-0-0-00"},
        {"X-Cloud-Trace-Context": "x/y"},
        {"X-Cloud-Trace-Context": f"{0:032x}/0;o=1"},
        {"X-Cloud-Trace-Context": f"{TRACE:032x}"},
    ],
    ids=str,
)
async def test_without_a_trace_a_new_one_begins(house: House, headers: dict[str, str]) -> None:
    await call(house.worker.app, WAKE, house.wake_up(house.order()), headers=headers)

    [request] = spans(house, "eventbox.wake")
    assert request.parent is None


async def test_a_request_that_somebody_traces_already_is_a_part_of_that(house: House) -> None:
    # as when it is mounted in an application that OpenTelemetry instruments
    tracer = house.recorder.tracer_provider.get_tracer("outer")
    with tracer.start_as_current_span("outer") as outer:
        await call(house.worker.app, WAKE, house.wake_up(house.order()), headers={"traceparent": TRACEPARENT})

    [request] = spans(house, "eventbox.wake")
    assert request.parent.span_id == outer.get_span_context().span_id


async def test_an_entry_says_which_recipient_which_task_and_what_became_of_it(
    house: House, lines: io.StringIO
) -> None:
    await house.worker.send(b"", house.order())
    await house.let(2)

    entry = json.loads(lines.getvalue())
    assert entry["severity"] == "DEBUG"
    labels = entry["logging.googleapis.com/labels"]
    name = labels.pop("task_name")
    assert len(name) == 40
    assert labels == {
        "kind": "wake",
        "outcome": "done",
        "recipient": "orders/1",
        "monitoring_string": "order",
    }
    assert entry["retry_count"] == 0


async def test_a_failure_is_an_error_with_its_stack_trace(house: House, lines: io.StringIO) -> None:
    async def handler(task: TaskRequest) -> None:
        raise KeyError("colour")

    house.worker.task("/emails", handler)
    await call(house.worker.app, "/emails")

    entry = json.loads(lines.getvalue())
    assert entry["severity"] == "ERROR"
    assert entry["stack_trace"].endswith("KeyError: 'colour'")
    assert entry["logging.googleapis.com/labels"]["task"] == "/emails"
    [span] = spans(house, "eventbox.task")
    assert span.status.status_code.name == "ERROR"
    assert span.attributes["http.response.status_code"] == 500
    assert [event.name for event in span.events] == ["exception"]


async def test_durations_go_by_the_boxs_clock(house: House) -> None:
    async def handler(task: TaskRequest) -> None:
        house.clock.advance(timedelta(seconds=3))

    house.worker.task("/emails", handler)
    await house.queue.enqueue(Task("/emails"))
    await house.let(1)

    [point] = house.recorder.metric("eventbox.worker.duration")
    assert point.sum == 3
    assert dict(point.attributes) == {
        "eventbox.kind": "task",
        "eventbox.outcome": "done",
        "eventbox.task": "/emails",
    }


async def test_strangers_paths_make_no_time_series(house: House) -> None:
    for number in range(5):
        await call(house.worker.app, f"/made-up/{number}")

    assert house.counted() == {("other", "unknown_path"): 5}
