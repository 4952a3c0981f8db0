"""Whatever a request holds, it gets an answer or a documented error: never an exception of the engine's own."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from grpc import StatusCode
from hypothesis import given, settings

from emulator.firestore import Emulator, protos
from emulator.firestore.service import BIDIRECTIONAL, UNARY
from emulator.front import Conversation, Rest
from emulator.status import Status
from eventbox.testing import ManualClock
from tests.emulator.firestore.random_requests import DATABASE, ROOT, RPCS, requests

BUGS = {StatusCode.INTERNAL, StatusCode.UNKNOWN}


def answer(emulator: Emulator, rpc: str, request: Any) -> list[Any]:
    """The responses; none where it failed with a documented error, or waits for a lock."""
    front = emulator._front
    begin = front.begin_unary if rpc in UNARY else front.begin_stream
    try:
        outcome = begin(rpc, request)
        if isinstance(outcome, Rest):
            outcome.close()
            return []
        responses = [outcome] if rpc in UNARY else list(outcome)
    except Status as refusal:
        status = refusal
    else:
        status = None
    if status is not None:
        assert status.code not in BUGS, status
        return []
    for response in responses:
        response.SerializeToString()
    return responses


def filled() -> Emulator:
    emulator = Emulator(clock=ManualClock())
    for name, fields in (
        ("a/1", {"n": protos.Value(integer_value=1), "l": protos.Value(array_value=protos.ArrayValue())}),
        ("a/2", {"n": protos.Value(double_value=0.5)}),
        ("a/1/b/1", {"m": protos.Value(map_value=protos.MapValue(fields={"x": protos.Value()}))}),
    ):
        write = protos.Write(update=protos.Document(name=f"{ROOT}/{name}", fields=fields))
        answer(emulator, "Commit", protos.CommitRequest(database=DATABASE, writes=[write]))
    for query in ("n", "m", "l", "s", "t"):  # so that there are indexes to keep up
        request = protos.RunQueryRequest(parent=ROOT)
        request.structured_query.from_.add(collection_id="a")
        request.structured_query.order_by.add().field.field_path = query
        answer(emulator, "RunQuery", request)
    return emulator


@pytest.mark.parametrize("rpc", sorted(RPCS))
@given(data=st.data())
def test_any_request_is_answered_or_refused(rpc: str, data: st.DataObject) -> None:
    emulator = filled()
    for _ in range(3):
        answer(emulator, rpc, data.draw(requests(rpc)))
    found = answer(
        emulator,
        "RunQuery",
        protos.RunQueryRequest(parent=ROOT, structured_query=protos.StructuredQuery()),
    )
    assert found


@pytest.mark.parametrize("rpc", sorted(BIDIRECTIONAL))
@given(data=st.data())
def test_any_stream_of_requests_is_answered_or_refused(rpc: str, data: st.DataObject) -> None:
    emulator = filled()
    conversation = emulator._front.begin_bidi(rpc)
    try:
        for request in data.draw(st.lists(requests(rpc), min_size=1, max_size=3)):
            conversation.send(request)
            heard(conversation)
            write = protos.Write(update=protos.Document(name=f"{ROOT}/a/1"))
            answer(emulator, "Commit", protos.CommitRequest(database=DATABASE, writes=[write]))
            heard(conversation)
    except Status as refusal:
        status: Status | None = refusal
    else:
        status = None
    assert status is None or status.code not in BUGS, status
    conversation.close()


def heard(conversation: Conversation) -> None:
    """Read what there is to read without waiting; a Status where the stream has failed."""
    for _ in range(10):
        reading = conversation._stream.next()
        try:
            reading.send(None)  # it would wait for more
        except StopIteration as stop:
            if stop.value is None:
                return
        else:
            return
        finally:
            reading.close()


@given(st.data())
@settings(max_examples=200)
def test_any_conversation_is_answered_or_refused(data: st.DataObject) -> None:
    emulator = filled()
    for rpc in data.draw(st.lists(st.sampled_from(sorted(RPCS)), max_size=6)):
        answer(emulator, rpc, data.draw(requests(rpc)))
