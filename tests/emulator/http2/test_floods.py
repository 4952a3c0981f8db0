"""Clients that want too much, and what is left of them."""

from __future__ import annotations

import gc

import h2.events
import pytest
from h2.settings import SettingCodes

from emulator.http2 import Stream
from emulator.http2.frames import ErrorCode, Kind, frame
from tests.emulator.http2.peer import RESPONSE, Peer
from tests.emulator.http2.test_frames import BLOCK, END_HEADERS, headers, number, setting

PING = frame(Kind.PING, 0, 0, bytes(8))
SETTINGS = frame(Kind.SETTINGS, 0, 0, setting(4, 1_000))


@pytest.mark.parametrize("flood", [PING, SETTINGS], ids=["pings", "settings"])
async def test_a_flood_that_asks_for_answers_is_hung_up_on(flood: bytes) -> None:
    peer = await Peer().greet()
    peer.send(flood * 1_000)
    assert peer.goaway() == (ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")


async def test_pings_between_answers_are_no_flood() -> None:
    """gRPC's clients measure by them how fast data come."""
    peer = await Peer().greet()
    for _ in range(500):
        stream = peer.open()
        peer.recorders[stream].answer(b"x")
        peer.send(PING)
        await peer.until_ended(stream)
    assert peer.closed is None


async def test_settings_that_a_frame_repeats_are_applied_once() -> None:
    """A frame has room for 170,000 of them, and a connection 10,000 streams."""
    peer = await Peer().greet()
    for _ in range(100):
        peer.open(end=False)
    changes = 0

    class Counting(Stream):
        __slots__ = ()

        def __setattr__(self, name: str, value: object) -> None:
            nonlocal changes
            changes += name == "send_window"
            super().__setattr__(name, value)

    for recorder in peer.recorders.values():
        recorder.stream.__class__ = Counting
    peer.send(frame(Kind.SETTINGS, 0, 0, setting(4, 1_000) * 10_000 + setting(4, 2_000)))
    assert changes == 100
    assert {recorder.stream.send_window for recorder in peer.recorders.values()} == {2_000}


@pytest.mark.parametrize("piece", [b"", b"x" * 1_000], ids=["empty", "large"])
async def test_headers_without_end_are_hung_up_on(piece: bytes) -> None:
    peer = await Peer().greet()
    peer.send(frame(Kind.HEADERS, 0, 1, BLOCK))
    for _ in range(100):
        peer.send(frame(Kind.CONTINUATION, 0, 1, piece))
    assert peer.goaway()[0] == ErrorCode.ENHANCE_YOUR_CALM


async def test_headers_that_are_too_large_are_hung_up_on() -> None:
    peer = await Peer().greet()
    peer.send(frame(Kind.HEADERS, END_HEADERS, 1, b"\0\x01a\x7f\xff\xff\x05" + b"x" * (2**17)))
    assert peer.goaway()[0] == ErrorCode.COMPRESSION_ERROR


async def test_streams_that_are_reset_at_once_leave_nothing_and_others_are_served() -> None:
    peer = await Peer().greet()
    honest = peer.open()
    for id in range(3, 20_003, 2):
        peer.send(headers(id, end=True))
        peer.send(frame(Kind.RST_STREAM, 0, id, number(8)))
        recorder = peer.recorders.pop(id)
        assert recorder.is_lost
    assert list(peer.server._streams) == [honest]
    peer.recorders[honest].answer(b"x")
    assert await peer.until_ended(honest) == b"x"
    assert not {*peer.server._streams.values(), *peer.server._sending, *peer.server._blocked}


async def test_streams_that_are_reset_while_nothing_is_read_leave_nothing() -> None:
    peer = await Peer().greet()
    peer.reads = False
    peer.server.pause_writing()
    for id in range(1, 2_001, 2):
        peer.send(headers(id, end=True))
        peer.recorders.pop(id).answer(b"x")
        peer.send(frame(Kind.RST_STREAM, 0, id, number(8)))
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is Stream and one._connection is peer.server]


async def test_more_streams_than_allowed_are_refused_and_can_come_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = await Peer().greet()
    assert peer.client.remote_settings.max_concurrent_streams == 10_000
    monkeypatch.setattr("emulator.http2.connection._MAX_STREAMS", 3)
    streams = [peer.open() for _ in range(4)]
    assert list(peer.recorders) == streams[:3]
    [reset] = peer.of(h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (streams[3], ErrorCode.REFUSED_STREAM)
    peer.recorders[1].answer(b"x")
    await peer.until_ended(1)
    assert peer.open() in peer.recorders


@pytest.mark.parametrize(
    "flood",
    [headers(1), frame(Kind.PING, 0, 0, bytes(8)), SETTINGS],
    ids=["headers on what is over", "pings", "settings"],
)
async def test_answers_are_not_kept_for_a_client_that_does_not_read(
    flood: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.http2.connection._MAX_ACKS", 2**31)
    peer = await Peer().greet()
    peer.open()
    peer.recorders[1].answer(b"x")
    await peer.turn()
    peer.reads = False
    for _ in range(2_000):
        peer.send(flood * 100)
        assert len(peer.unread) < 2**18
    assert peer.closed == "aborted"


async def test_a_client_that_does_not_read_for_a_while_is_not_hung_up_on() -> None:
    peer = await Peer({SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1}).greet()
    peer.client.increment_flow_control_window(2**30)
    for _ in range(100):
        peer.reads = False
        stream = peer.open()
        peer.recorders[stream].answer(bytes(2**18))
        await peer.turn()
        peer.send(PING * 60)
        assert len(peer.unread) > 2**16
        peer.resume()
        await peer.until_ended(stream)


@pytest.mark.parametrize("breaks", [False, True])
async def test_a_peer_that_does_not_read_is_not_waited_for_when_a_connection_ends(breaks: bool) -> None:
    peer = await Peer().greet()
    stream = peer.open()
    peer.reads = False
    peer.recorders[stream].stream.begin(RESPONSE)
    await peer.turn()
    assert peer.unread
    peer.send(frame(Kind.DATA, 0, 0)) if breaks else peer.server.close()
    await peer.turn()
    assert peer.closed == "aborted"
    assert peer.recorders[stream].is_lost
    assert not peer.connections


async def test_a_connection_that_is_closed_says_so_and_ends_its_calls() -> None:
    peer = await Peer().greet()
    stream = peer.open()
    peer.server.close()
    assert peer.goaway() == (ErrorCode.NO_ERROR, b"")
    await peer.turn()
    assert (peer.recorders[stream].is_lost, peer.closed, peer.connections) == (True, "closed", set())
    peer.recorders[stream].answer(b"nobody hears this")
    await peer.turn()
