"""gRPC calls as bytes: what becomes of requests that are whole, broken, compressed, too large, or no gRPC."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from grpc import StatusCode
from hypothesis import given, strategies as st

from emulator.grpc_call import OneRequestCall
from emulator.grpc_framing import MessageReader, status_trailers, timeout
from emulator.status import Status
from tests.emulator.http2_client import Http2Client, message
from tests.emulator.talking_service import MAX_BYTES, TalkingService, talking

OK, UNKNOWN, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = "0", "2", "8", "12", "13"


@pytest.fixture
def service() -> TalkingService:
    return TalkingService()


@pytest.fixture
async def client(service: TalkingService) -> AsyncIterator[Http2Client]:
    async with talking(service) as address, Http2Client.open(address) as client:
        yield client


def request(value: bytes = b"x") -> bytes:
    return BytesValue(value=value).SerializeToString()


async def test_a_call_is_answered_with_headers_a_message_and_a_status(client: Http2Client) -> None:
    stream = await client.begin(message(request(b"hello")))
    assert await client.until_ended(stream) == {"grpc-status": OK}
    assert client.headers[stream][0][":status"] == "200"
    assert client.headers[stream][0]["content-type"] == "application/grpc"
    assert client.data[stream] == message(request(b"hello"))


@pytest.mark.parametrize("rpc", ["Say", "Stream"])
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "got none"),
        (message(request()) * 2, "got more"),
        (message(request()) + b"\0", "within a message"),
        (message(request())[:-1], "within a message"),
        (b"\0\0", "within a message"),
    ],
)
async def test_anything_but_one_message_is_an_internal_error(
    client: Http2Client, service: TalkingService, rpc: str, data: bytes, text: str
) -> None:
    trailers = await client.call(data, path=f"/test.Talking/{rpc}")
    assert (trailers["grpc-status"], text in trailers["grpc-message"]) == (INTERNAL, True)
    assert not service.called_rpcs
    assert (await client.call(message(request())))["grpc-status"] == OK


async def test_a_stream_that_ends_within_a_message_is_an_internal_error(client: Http2Client) -> None:
    stream = await client.begin(message(request()) + b"\0\0\0", path="/test.Talking/Talk")
    assert (await client.until_ended(stream))["grpc-status"] == INTERNAL


async def test_messages_after_the_first_are_not_kept(client: Http2Client) -> None:
    stream = await client.begin(message(b"") * 2, end=False)
    assert (await client.until_ended(stream))["grpc-status"] == INTERNAL


def test_a_call_that_failed_keeps_nothing_of_what_still_comes() -> None:
    reader = MessageReader(b"identity", 10)
    with pytest.raises(Status):
        reader.feed(message(bytes(11)))

    class Stuck:
        """A stream whose end does not go out."""

        credited = 0

        def end(self, headers: bytes) -> None: ...

        def credit(self, credit: int) -> None:
            self.credited += credit

    stuck: Any = Stuck()
    call = OneRequestCall(stuck, {}, 10, streams=False, answer=lambda call, data: None)
    for _ in range(100):
        call.received(message(bytes(11)), 16)
    assert stuck.credited == 1_600
    assert len(call._reader._buffer) == 16


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_requests_are_read(client: Http2Client, encoding: str, pack: Any) -> None:
    stream = await client.begin(message(pack(request(b"a" * 1_000)), compressed=True), grpc_encoding=encoding)
    assert (await client.until_ended(stream))["grpc-status"] == OK
    assert client.data[stream] == message(request(b"a" * 1_000))


async def test_a_message_of_a_compressed_call_may_come_as_it_is(client: Http2Client) -> None:
    assert (await client.call(message(request()), grpc_encoding="gzip"))["grpc-status"] == OK


async def test_an_unknown_encoding_is_unimplemented_and_the_known_ones_are_told(client: Http2Client) -> None:
    trailers = await client.call(message(b"x", compressed=True), grpc_encoding="snappy")
    assert trailers["grpc-status"] == UNIMPLEMENTED
    assert "'snappy'" in trailers["grpc-message"]
    assert trailers["grpc-accept-encoding"] == "identity, deflate, gzip"


@pytest.mark.parametrize("encoding", [None, "identity", "gzip", "deflate"])
async def test_a_compressed_message_that_cannot_be_unpacked_is_an_internal_error(
    client: Http2Client, encoding: str | None
) -> None:
    data = message(b"neither of them", compressed=True)
    assert (await client.call(data, grpc_encoding=encoding))["grpc-status"] == INTERNAL


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_compressed_message_without_its_end_is_an_internal_error(pack: Any) -> None:
    reader = MessageReader(b"gzip" if pack is gzip.compress else b"deflate", 1_000)
    with pytest.raises(Status, match="INTERNAL"):
        reader.feed(message(pack(bytes(100))[:-5], compressed=True))


@pytest.mark.parametrize(("encoding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
@pytest.mark.parametrize("size", [999, 1_000, 1_001, 10**7])
def test_a_message_is_measured_unpacked(encoding: bytes, pack: Any, size: int) -> None:
    reader = MessageReader(encoding, 1_000)
    packed = message(pack(bytes(size)), compressed=True)
    if size <= 1_000:
        assert reader.feed(packed) == [bytes(size)]
        return
    with pytest.raises(Status, match="RESOURCE_EXHAUSTED: Received message larger than max"):
        reader.feed(packed)


@pytest.mark.parametrize("end", [True, False])
async def test_a_message_over_the_limit_is_refused_before_it_has_come(client: Http2Client, end: bool) -> None:
    size = 4 * MAX_BYTES + 1
    stream = await client.begin(b"\0" + size.to_bytes(4, "big") + b"x", end=end)
    trailers = await client.until_ended(stream)
    assert trailers["grpc-status"] == RESOURCE_EXHAUSTED
    assert f"({size} bytes vs. {4 * MAX_BYTES})" in trailers["grpc-message"]


@pytest.mark.parametrize("size", [2 * 2**20, 4 * MAX_BYTES - 10])
async def test_a_message_larger_than_the_window_arrives(client: Http2Client, size: int) -> None:
    stream = await client.begin(message(request(bytes(size))))
    assert (await client.until_ended(stream))["grpc-status"] == OK
    assert client.data[stream] == message(request(bytes(size)))


@pytest.mark.parametrize("type", [None, "application/json", "text/html"])
async def test_what_is_no_grpc_is_an_unsupported_media_type(client: Http2Client, type: str | None) -> None:
    trailers = await client.call(b"{}", content_type=type)
    assert (trailers[":status"], trailers["grpc-status"]) == ("415", UNKNOWN)


@pytest.mark.parametrize("type", ["application/grpc+proto", "application/grpc;x=y"])
async def test_all_kinds_of_grpc_are_answered(client: Http2Client, type: str) -> None:
    assert (await client.call(message(request()), content_type=type))["grpc-status"] == OK


@pytest.mark.parametrize(
    "path", ["/", "/test.Talking", "/test.Talking/", "/test.Talking/Shout", "/no.Such/Say", "x"]
)
async def test_what_is_not_there_is_unimplemented_in_one_block_of_headers(
    client: Http2Client, path: str
) -> None:
    stream = await client.begin(message(request()), path=path)
    await client.until_ended(stream)
    [headers] = client.headers[stream]
    assert (headers[":status"], headers["grpc-status"]) == ("200", UNIMPLEMENTED)


@pytest.mark.parametrize(
    ("rpc", "code", "blocks"),
    [
        ("Say", StatusCode.NOT_FOUND, 1),
        ("Say", StatusCode.UNAVAILABLE, 1),
        ("Stream", StatusCode.NOT_FOUND, 2),
        ("Stream", StatusCode.UNAVAILABLE, 1),
        ("Stream", StatusCode.UNKNOWN, 2),
    ],
)
async def test_errors_come_alone_but_for_those_that_are_a_streams_answer(
    client: Http2Client, service: TalkingService, rpc: str, code: StatusCode, blocks: int
) -> None:
    def fail() -> None:
        raise Status(code, "why")

    service.answers[b"fail"] = fail
    stream = await client.begin(message(request(b"fail")), path=f"/test.Talking/{rpc}")
    trailers = await client.until_ended(stream)
    assert (trailers["grpc-status"], trailers["grpc-message"]) == (str(code.value[0]), "why")
    assert len(client.headers[stream]) == blocks


@pytest.mark.parametrize("rpc", ["Say", "Stream", "Talk"])
async def test_a_defect_of_the_engine_is_unknown_and_logged(
    client: Http2Client, service: TalkingService, rpc: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("of all things")

    service.answers[b"fail"] = fail
    with caplog.at_level(logging.ERROR, "emulator"):
        stream = await client.begin(message(request(b"fail")), end=False, path=f"/test.Talking/{rpc}")
        if rpc != "Talk":
            client.h2.end_stream(stream)
            await client.send()
        trailers = await client.until_ended(stream)
    assert trailers["grpc-status"] == UNKNOWN
    assert "of all things" in trailers["grpc-message"]
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert (await client.call(message(request())))["grpc-status"] == OK


async def test_a_defect_amid_a_streams_answer_ends_it_with_an_error(
    client: Http2Client, service: TalkingService, caplog: pytest.LogCaptureFixture
) -> None:
    service.answers[b"fail"] = lambda: (bytes(1 // n) for n in (1, 1, 0))
    stream = await client.begin(message(request(b"fail")), path="/test.Talking/Stream")
    assert (await client.until_ended(stream))["grpc-status"] == UNKNOWN
    assert client.data[stream] == message(request(bytes(1))) * 2
    assert "defect" in caplog.text


# What headers say ---------------------------------------------------------------------------------------------------


@given(st.text(max_size=50) | st.sampled_from([" x", "x ", "  ", "%", "%41", "a\nb", "ä ö", "\0", "🙂"]))
def test_a_status_message_is_quoted_as_a_header_can_carry_it(text: str) -> None:
    header = dict(status_trailers(StatusCode.ABORTED, text)).get(b"grpc-message", b"").decode()
    assert unquote(header) == text
    assert all(0x20 <= ord(character) < 0x7F for character in header)
    assert header == header.strip()


def test_half_a_surrogate_in_a_status_message_is_replaced() -> None:
    """Names of files and environments may have some."""
    assert dict(status_trailers(StatusCode.ABORTED, "a\udc80b"))[b"grpc-message"] == b"a?b"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"1H", 3600), (b"2M", 120), (b"100S", 100), (b"5m", 0.005), (b"7u", 7e-6), (b"9n", 9e-9), (b"0S", 0),
        (b"99999999H", 99_999_999 * 3600), (b"", None), (b"5", None), (b"S", None), (b"-5S", None), (b"1.5S", None),
        (b"5s", None), (b"123456789S", None), (b"9" * 5_000 + b"S", None), ("٣S".encode(), None),
    ],
)  # fmt: skip
def test_a_timeout_is_read_where_it_makes_sense(header: bytes, seconds: float | None) -> None:
    assert timeout(header) == (pytest.approx(seconds) if seconds is not None else None)


@given(
    messages=st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=6),
    size=st.integers(1, 60),
)
def test_messages_may_be_cut_anywhere(messages: list[tuple[bytes, bool]], size: int) -> None:
    data = b"".join(
        message(gzip.compress(value) if packed else value, compressed=packed) for value, packed in messages
    )
    reader = MessageReader(b"gzip", 100)
    read = [one for at in range(0, len(data), size) for one in reader.feed(data[at : at + size])]
    assert read == [value for value, _ in messages]
    reader.check_end()
