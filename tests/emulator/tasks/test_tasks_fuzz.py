"""Whatever a request holds, it gets an answer or a documented error, and so do the dispatches that come of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from google.protobuf.descriptor import FieldDescriptor
from grpc import StatusCode
from hypothesis import given, settings

from emulator.manual_clock import ManualClock
from emulator.status import Status
from emulator.tasks import TasksEmulator
from emulator.tasks.service import UNARY
from tests.emulator.tasks.recording_worker import WORKER, RecordingWorker

LOCATION = "projects/demo/locations/us-central1"
QUEUE = f"{LOCATION}/queues/q"
START = 1_893_456_000
"""Where a `ManualClock` begins, in seconds since the epoch."""

DOCUMENTED = {
    StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND, StatusCode.ALREADY_EXISTS, StatusCode.FAILED_PRECONDITION,
    StatusCode.UNIMPLEMENTED,
}  # fmt: skip

_TEXTS = st.one_of(st.sampled_from(["", "a", "/", "é", "\0", "a b", "\n"]), st.text(max_size=5))
_NAMES = st.one_of(
    st.sampled_from([QUEUE, f"{QUEUE}/tasks/t", f"{QUEUE}2", f"{QUEUE}/tasks/u", LOCATION]), _TEXTS
)
_URLS = st.one_of(
    st.sampled_from([WORKER, f"{WORKER}:80/a?b#c", f"{WORKER}:x/", "http://", "https://[::1", "http://\0"]),
    _TEXTS,
)
_PATHS = st.sampled_from(
    ["rate_limits", "retry_config.min_backoff", "state", "http_target.http_method", "", "x"]
)
_NUMBERS = st.one_of(st.integers(-2, 20), st.sampled_from([-(2**31), 2**31 - 1]))
_LONG = st.one_of(
    st.integers(-2, 20), st.integers(START - 5, START + 5), st.sampled_from([-(2**63), 2**63 - 1])
)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: _NUMBERS,
    FieldDescriptor.CPPTYPE_INT64: st.one_of(_LONG, st.just(315_576_000_000)),
    FieldDescriptor.CPPTYPE_DOUBLE: st.one_of(st.floats(), st.floats(0, 500)),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_ENUM: st.one_of(st.integers(0, 3), st.sampled_from([-1, 99])),
}
_STRINGS = {"name": _NAMES, "parent": _NAMES, "url": _URLS, "paths": _PATHS}


@st.composite
def requests(draw: st.DrawFn, rpc: str) -> Any:
    """A request of one RPC."""
    message = UNARY[rpc][0]()
    _fill(draw, message)
    return message


def _fill(draw: st.DrawFn, message: Any) -> None:
    for field in message.DESCRIPTOR.fields:
        needed = field.name in ("name", "parent", "url", "http_request", "task", "queue")
        if not draw(st.integers(0, 9 if needed else 1)):
            continue
        slot, inner = getattr(message, field.name), field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            slot[draw(_TEXTS)] = draw(_TEXTS)
        elif field.is_repeated and inner is None:
            slot.append(draw(_scalar(field)))
        elif field.is_repeated:
            _fill(draw, slot.add())
        elif inner is not None:
            if field.name != "app_engine_http_request":  # which would end all others of its kind
                slot.SetInParent()
                _fill(draw, slot)
        else:
            setattr(message, field.name, draw(_scalar(field)))


def _scalar(field: Any) -> st.SearchStrategy[Any]:
    if field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
        return _SCALARS[field.cpp_type]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=3)
    return _STRINGS.get(field.name, _TEXTS)


@pytest.mark.parametrize("rpc", sorted(UNARY))
@settings(max_examples=60)
@given(data=st.data())
def test_every_request_is_answered_or_refused(rpc: str, data: st.DataObject) -> None:
    request = data.draw(requests(rpc))
    before = data.draw(st.lists(st.sampled_from(["CreateTask", "UpdateQueue"]), max_size=2))
    earlier = [(each, data.draw(requests(each))) for each in before]

    async def run() -> None:
        clock, worker = ManualClock(), RecordingWorker()
        tasks = TasksEmulator(clock=clock)
        tasks.mount(WORKER, worker)
        tasks.create_queue("q", retry_config={"max_attempts": 2})
        worker.statuses.extend([500] * 100)
        for name, one in [*earlier, (rpc, request)]:
            with suppress(Status), _documented():
                answer = tasks._front.begin_unary(name, one)
                UNARY[name][1].FromString(answer.SerializeToString())
        for _ in range(3):
            await tasks.drain()
            clock.advance(timedelta(days=20))

    with _no_complaints():
        asyncio.run(run())


@contextmanager
def _documented() -> Iterator[None]:
    """Fails where an error is none that the service has."""
    try:
        yield
    except Status as status:
        if status.code not in DOCUMENTED:
            pytest.fail(f"undocumented: {status}")
        raise


class _no_complaints(logging.Handler):  # noqa: N801 - a context manager
    """Fails where asyncio, or the engine, has logged an exception."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.complaints: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.complaints.append(f"{record.getMessage()} {record.exc_info}")

    def __enter__(self) -> None:
        logging.getLogger().addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)
        assert not self.complaints
