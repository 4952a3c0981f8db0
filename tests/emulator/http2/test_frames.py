"""Frames that are odd, and those that break the rules."""

from __future__ import annotations

import asyncio

import h2.events
import pytest
from h2.settings import SettingCodes
from hyperframe.frame import Frame
from hypothesis import given, strategies as st

from emulator.http2 import Connection, encode
from emulator.http2.frames import PREFACE, ErrorCode, Kind, frame
from tests.emulator.http2.peer import REQUEST, RESPONSE, TRAILERS, Peer, Recorder

BLOCK = encode([(name.encode(), value.encode()) for name, value in REQUEST])
END, END_HEADERS, PADDED, PRIORITY = 1, 4, 8, 0x20


def headers(stream: int, *, end: bool = False) -> bytes:
    return frame(Kind.HEADERS, END_HEADERS | end, stream, BLOCK)


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def setting(number: SettingCodes | int, value: int) -> bytes:
    return int(number).to_bytes(2, "big") + value.to_bytes(4, "big")


async def test_padding_is_no_content() -> None:
    peer = await Peer().greet()
    peer.send(frame(Kind.HEADERS, END_HEADERS | PADDED, 1, b"\x05" + BLOCK + bytes(5)))
    peer.send(frame(Kind.DATA, PADDED, 1, b"\x03abc" + bytes(3)))
    peer.send(frame(Kind.DATA, PADDED | END, 1, b"\x07" + bytes(7)))
    assert peer.recorders[1].headers[b":path"] == b"/x/y"
    assert (peer.recorders[1].data, peer.recorders[1].is_ended) == (b"abc", True)


async def test_padding_is_credited_as_content_is() -> None:
    peer = await Peer().greet()
    peer.client.send_headers(1, REQUEST)
    for _ in range(8_000):
        peer.client.send_data(1, b"x", pad_length=255)
        peer.send()
        await peer.turn(1)
    assert peer.recorders[1].data == b"x" * 8_000


async def test_priorities_are_passed_over() -> None:
    peer = await Peer().greet()
    peer.client.prioritize(1, weight=7, depends_on=3)
    peer.client.send_headers(1, REQUEST, end_stream=True, priority_weight=200, priority_exclusive=True)
    peer.send()
    peer.send(frame(Kind.HEADERS, END_HEADERS | PADDED | PRIORITY, 3, b"\x02" + bytes(5) + BLOCK + bytes(2)))
    assert peer.recorders[1].headers == peer.recorders[3].headers


async def test_frames_of_unknown_kinds_are_passed_over() -> None:
    peer = await Peer().greet()
    peer.send(frame(77, 0xFF, 5, b"abc") + headers(1, end=True) + frame(0xFE, 0, 0))
    assert peer.recorders[1].is_ended


@pytest.mark.parametrize("size", [0, 1, 10, len(BLOCK) - 1])
async def test_headers_in_pieces_are_put_together(size: int) -> None:
    peer = await Peer().greet()
    begin, *rest = (
        BLOCK[:size],
        *(BLOCK[at : at + max(1, size)] for at in range(size, len(BLOCK), max(1, size))),
    )
    peer.send(frame(Kind.HEADERS, END, 1, begin))
    last = rest.pop()
    for piece in rest:
        peer.send(frame(Kind.CONTINUATION, 0, 1, piece))
        assert not peer.recorders
    peer.send(frame(Kind.CONTINUATION, END_HEADERS, 1, last))
    assert peer.recorders[1].headers[b":path"] == b"/x/y"
    assert peer.recorders[1].is_ended


async def test_an_empty_last_piece_ends_headers() -> None:
    peer = await Peer().greet()
    peer.send(frame(Kind.HEADERS, END, 1, BLOCK) + frame(Kind.CONTINUATION, END_HEADERS, 1))
    assert peer.recorders[1].is_ended


async def test_trailers_end_a_request() -> None:
    peer = await Peer().greet()
    stream = peer.open(end=False)
    peer.client.send_data(stream, b"abc")
    peer.client.send_headers(stream, [("x-checksum", "1")], end_stream=True)
    peer.send()
    assert (peer.recorders[stream].data, peer.recorders[stream].is_ended) == (b"abc", True)


@pytest.mark.parametrize("size", [2**14, 2**14 + 1, 40_000])
async def test_no_frame_is_larger_than_the_peer_takes(size: int) -> None:
    """h2 ends a connection on which one is."""
    peer = await Peer({SettingCodes.MAX_FRAME_SIZE: size}).greet()
    peer.client.increment_flow_control_window(2**20)
    peer.client.local_settings.max_header_list_size = 2**20
    stream = peer.open()
    recorder = peer.recorders[stream]
    recorder.stream.begin(encode([(b":status", b"200"), (b"x-large", b"x" * 60_000)]))
    recorder.stream.write(bytes(60_000))
    recorder.stream.end(encode([(b"x-large", b"y" * 50_000)]))
    assert await peer.until_ended(stream) == bytes(60_000)
    [response] = peer.of(h2.events.ResponseReceived)
    [trailers] = peer.of(h2.events.TrailersReceived)
    assert dict(response.headers)["x-large"] == "x" * 60_000
    assert dict(trailers.headers)["x-large"] == "y" * 50_000


async def test_pings_are_answered_with_what_they_say() -> None:
    peer = await Peer().greet()
    peer.client.ping(b"12345678")
    peer.send()
    assert [event.ping_data for event in peer.of(h2.events.PingAckReceived)] == [b"12345678"]
    peer.send(frame(Kind.PING, 1, 0, bytes(8)))
    assert len(peer.of(h2.events.PingAckReceived)) == 1


async def test_settings_are_acknowledged_and_unknown_ones_passed_over() -> None:
    peer = await Peer().greet()
    assert len(peer.of(h2.events.SettingsAcknowledged)) == 1
    peer.client.update_settings({0xABC: 5})  # type: ignore[dict-item]
    peer.send()
    assert len(peer.of(h2.events.SettingsAcknowledged)) == 2


async def test_calls_are_answered_after_the_client_has_said_that_it_goes() -> None:
    peer = await Peer().greet()
    streams = [peer.open() for _ in range(3)]
    peer.send(frame(Kind.GOAWAY, 0, 0, bytes(8)))
    for stream in streams:
        peer.recorders[stream].answer(b"x")
    await peer.turn()
    assert peer.ended == streams
    assert peer.closed is None


async def test_a_client_that_is_answered_early_is_told_to_send_no_more() -> None:
    peer = await Peer().greet()
    stream = peer.open(end=False)
    peer.recorders[stream].answer(b"x")
    await peer.turn()
    assert [event.error_code for event in peer.of(h2.events.StreamReset)] == [ErrorCode.NO_ERROR]
    peer.send(frame(Kind.DATA, 0, stream, b"late") + headers(3, end=True))
    assert (peer.recorders[stream].data, peer.recorders[3].is_ended) == (b"", True)


async def test_headers_on_a_stream_that_is_over_reset_it_and_keep_the_table_whole() -> None:
    peer = await Peer().greet()
    stream = peer.open()
    peer.send(frame(Kind.HEADERS, END_HEADERS, stream, b"\x40\x03x-a\x01z"))
    assert peer.of(h2.events.StreamReset)[-1].error_code == ErrorCode.STREAM_CLOSED
    peer.send(frame(Kind.HEADERS, END_HEADERS | END, stream + 2, BLOCK + b"\xbe"))
    assert peer.recorders[stream + 2].headers[b"x-a"] == b"z"


BROKEN = {
    "data on no stream": (frame(Kind.DATA, 0, 0), "PROTOCOL_ERROR"),
    "data on an idle stream": (frame(Kind.DATA, 0, 3, b"x"), "PROTOCOL_ERROR"),
    "data on a stream of the server's": (frame(Kind.DATA, 0, 2, b"x"), "PROTOCOL_ERROR"),
    "nothing but padding too long": (frame(Kind.DATA, PADDED, 1, b"\x05abcd"), "PROTOCOL_ERROR"),
    "padding without its length": (frame(Kind.DATA, PADDED, 1), "PROTOCOL_ERROR"),
    "headers on no stream": (headers(0), "PROTOCOL_ERROR"),
    "headers on a stream of the server's": (headers(2), "PROTOCOL_ERROR"),
    "headers with too much padding": (
        frame(Kind.HEADERS, END_HEADERS | PADDED, 3, b"\xff" + BLOCK), "PROTOCOL_ERROR",
    ),
    "headers too short for their priority": (
        frame(Kind.HEADERS, END_HEADERS | PRIORITY, 3, b"abcd"), "PROTOCOL_ERROR",
    ),
    "headers that are none": (frame(Kind.HEADERS, END_HEADERS, 3, b"\xff\xff\xff\xff\xff"), "COMPRESSION_ERROR"),
    "a table larger than allowed": (frame(Kind.HEADERS, END_HEADERS, 3, b"\x3f\xe2\x1f"), "COMPRESSION_ERROR"),
    "nothing to continue": (frame(Kind.CONTINUATION, END_HEADERS, 1, b""), "PROTOCOL_ERROR"),
    "headers not continued": (frame(Kind.HEADERS, 0, 3, BLOCK) + frame(Kind.PING, 0, 0, bytes(8)), "PROTOCOL_ERROR"),
    "headers continued on another stream": (
        frame(Kind.HEADERS, 0, 3, BLOCK) + frame(Kind.CONTINUATION, END_HEADERS, 5), "PROTOCOL_ERROR",
    ),
    "an unknown frame in headers": (frame(Kind.HEADERS, 0, 3, BLOCK) + frame(77, 0, 3), "PROTOCOL_ERROR"),
    "a reset of no stream": (frame(Kind.RST_STREAM, 0, 0, number(0)), "PROTOCOL_ERROR"),
    "a reset of an idle stream": (frame(Kind.RST_STREAM, 0, 3, number(0)), "PROTOCOL_ERROR"),
    "a reset of odd size": (frame(Kind.RST_STREAM, 0, 1, b"abc"), "FRAME_SIZE_ERROR"),
    "settings of a stream": (frame(Kind.SETTINGS, 0, 1), "PROTOCOL_ERROR"),
    "settings of odd size": (frame(Kind.SETTINGS, 0, 0, b"abcde"), "FRAME_SIZE_ERROR"),
    "a window too large to begin with": (frame(Kind.SETTINGS, 0, 0, setting(4, 2**31)), "FLOW_CONTROL_ERROR"),
    "a frame too small": (frame(Kind.SETTINGS, 0, 0, setting(5, 2**14 - 1)), "PROTOCOL_ERROR"),
    "a frame too large": (frame(Kind.SETTINGS, 0, 0, setting(5, 2**24)), "PROTOCOL_ERROR"),
    "settings that make a window too large": (
        frame(Kind.WINDOW_UPDATE, 0, 1, number(2**31 - 2**16)) + frame(Kind.SETTINGS, 0, 0, setting(4, 2**17)),
        "FLOW_CONTROL_ERROR",
    ),
    "a push": (frame(Kind.PUSH_PROMISE, END_HEADERS, 1, number(2) + BLOCK), "PROTOCOL_ERROR"),
    "a ping of odd size": (frame(Kind.PING, 0, 0, bytes(7)), "FRAME_SIZE_ERROR"),
    "an update by nothing": (frame(Kind.WINDOW_UPDATE, 0, 0, number(0)), "PROTOCOL_ERROR"),
    "an update of a stream by nothing": (frame(Kind.WINDOW_UPDATE, 0, 1, number(2**31)), "PROTOCOL_ERROR"),
    "an update of an idle stream": (frame(Kind.WINDOW_UPDATE, 0, 3, number(1)), "PROTOCOL_ERROR"),
    "an update of odd size": (frame(Kind.WINDOW_UPDATE, 0, 1, bytes(5)), "FRAME_SIZE_ERROR"),
    "an update past the end": (frame(Kind.WINDOW_UPDATE, 0, 0, number(2**31 - 1)), "FLOW_CONTROL_ERROR"),
    "an update of a stream past the end": (
        frame(Kind.WINDOW_UPDATE, 0, 1, number(2**31 - 1)), "FLOW_CONTROL_ERROR",
    ),
    "a frame larger than was told": (b"\x10\0\1\0\0\0\0\0\1", "FRAME_SIZE_ERROR"),
    "more data than the window lets through": (
        frame(Kind.DATA, 0, 1, bytes(2**20)) + frame(Kind.DATA, 0, 1, b"x"), "FLOW_CONTROL_ERROR",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
async def test_broken_rules_end_the_connection_and_its_calls(what: str) -> None:
    data, code = BROKEN[what]
    peer = await Peer(takes=False).greet()
    peer.open(end=False)
    peer.send(data)
    await peer.turn()
    assert ErrorCode(peer.goaway()[0]).name == code
    assert peer.recorders[1].is_lost
    assert not peer.connections


# Cut anywhere -------------------------------------------------------------------------------------------------------


class Echo(Recorder):
    """Answers with what it was sent."""

    def ended(self) -> None:
        self.answer(bytes(self.data))


class Output:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.data = b""
        self.writes = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        self.data += data
        self.writes += 1

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def heard(self) -> list[tuple[int, str]]:
        """What was said on each stream; data are one, however they came."""
        said: dict[int, str] = {}
        at = 0
        while at < len(self.data):
            one, length = Frame.parse_frame_header(memoryview(self.data)[at : at + 9])
            one.parse_body(memoryview(self.data)[at + 9 : at + 9 + length])
            at += 9 + length
            what = one.data.decode() if one.type == Kind.DATA else f"<{one!r}>"
            said[one.stream_id] = said.get(one.stream_id, "") + what
        return sorted(said.items())


SAID = b"".join(
    [
        PREFACE,
        frame(Kind.SETTINGS, 0, 0, setting(4, 2**20)),
        headers(1),
        frame(Kind.DATA, 0, 1, b"one "),
        frame(Kind.PING, 0, 0, b"abcdefgh"),
        frame(Kind.HEADERS, END | PADDED, 3, b"\x03" + BLOCK[:9] + bytes(3)),
        frame(Kind.CONTINUATION, END_HEADERS, 3, BLOCK[9:]),
        frame(Kind.PRIORITY, 0, 1, bytes(5)),
        frame(Kind.DATA, PADDED | END, 1, b"\x02and two" + bytes(2)),
        frame(99, 0, 0, b"?"),
        frame(Kind.HEADERS, END_HEADERS, 5, BLOCK + b"\x40\x01a\x011"),
        frame(Kind.DATA, END, 5, b"five"),
        frame(Kind.WINDOW_UPDATE, 0, 0, number(7)),
    ]
)


def answers(cuts: list[int]) -> list[tuple[int, str]]:
    output = Output()
    connection = Connection(lambda stream, headers: Echo(stream, headers), set())
    connection.connection_made(output)
    for begin, end in zip([0, *cuts], [*cuts, len(SAID)], strict=True):
        connection.data_received(SAID[begin:end])
    return output.heard()


@given(cuts=st.lists(st.integers(0, len(SAID)), max_size=30).map(sorted))
async def test_frames_may_be_cut_anywhere(cuts: list[int]) -> None:
    expected = answers([])
    assert [stream for stream, _ in expected] == [0, 1, 3, 5]
    assert answers(cuts) == expected


async def test_frames_may_come_byte_by_byte() -> None:
    assert answers(list(range(len(SAID)))) == answers([])


async def test_answers_to_what_came_together_go_out_together() -> None:
    output = Output()
    connection = Connection(lambda stream, headers: Echo(stream, headers), set())
    connection.connection_made(output)
    connection.data_received(PREFACE + b"".join(headers(id, end=True) for id in range(1, 41, 2)))
    assert output.writes == 2  # the first is the server's preface
    assert len(output.heard()) == 21


async def test_messages_of_a_stream_go_out_together_at_the_loops_next_turn_and_its_end_at_once() -> None:
    output = Output()
    recorders: list[Recorder] = []
    connection = Connection(lambda stream, headers: recorders.append(Recorder(stream, headers)), set())
    connection.connection_made(output)
    connection.data_received(PREFACE + headers(1, end=True))
    recorders[0].stream.begin(RESPONSE)
    for _ in range(3):
        recorders[0].stream.write(b"x")
    assert output.writes == 1
    await asyncio.sleep(0)
    assert output.writes == 2
    recorders[0].stream.end(TRAILERS)
    assert output.writes == 3
