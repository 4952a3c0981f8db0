"""Windows: what is too much for one waits, and all of it arrives."""

from __future__ import annotations

import asyncio
import random

import h2.events
import pytest
from h2.settings import SettingCodes

from emulator.http2 import Stream
from emulator.http2.frames import Kind, frame
from tests.emulator.http2.peer import RESPONSE, TRAILERS, Peer

MIB = 2**20


def some(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def write_parts(stream: Stream, part: bytes, parts: int, written: list[int]) -> None:
    """Answer as a streaming RPC does: as fast as there is room."""
    stream.begin(RESPONSE)
    for n in range(parts):
        written.append(n)
        if not stream.write(part):
            await stream.room()
    stream.end(TRAILERS)


@pytest.mark.parametrize(("window", "size"), [(1, 300), (7, 5_000), (2**14, MIB), (2**31 - 1, 8 * MIB)])
async def test_an_answer_arrives_whole_whatever_the_streams_window(window: int, size: int) -> None:
    peer = await Peer({SettingCodes.INITIAL_WINDOW_SIZE: window}).greet()
    stream = peer.open()
    peer.recorders[stream].answer(some(size))
    assert await peer.until_ended(stream) == some(size)


async def test_a_window_of_nothing_holds_data_back_until_settings_raise_it() -> None:
    peer = await Peer({SettingCodes.INITIAL_WINDOW_SIZE: 0}).greet()
    stream = peer.open()
    peer.recorders[stream].answer(some(1_000))
    await peer.turn()
    assert peer.of(h2.events.ResponseReceived)
    assert not peer.data[stream]
    peer.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 400})
    peer.send()
    await peer.turn()
    assert peer.data[stream] == some(1_000)[:400]
    peer.client.increment_flow_control_window(600, stream)
    peer.send()
    await peer.turn()
    assert peer.data[stream] == some(1_000)
    assert peer.ended == [stream]


async def test_a_window_that_settings_make_negative_has_to_be_filled_first() -> None:
    peer = await Peer({SettingCodes.INITIAL_WINDOW_SIZE: 1_000}).greet()
    stream = peer.open()
    peer.recorders[stream].answer(some(1_500))
    await peer.turn()
    peer.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100})
    peer.send()  # the window is -900 now
    for increment, arrived in ((900, 1_000), (1, 1_001), (499, 1_500)):
        peer.client.increment_flow_control_window(increment, stream)
        peer.send()
        await peer.turn()
        assert len(peer.data[stream]) == arrived
    assert bytes(peer.data[stream]) == some(1_500)


async def test_an_exhausted_connection_holds_all_streams_back_and_then_none() -> None:
    peer = await Peer({SettingCodes.INITIAL_WINDOW_SIZE: MIB}).greet()
    streams = [peer.open() for _ in range(3)]
    for stream in streams:
        peer.recorders[stream].answer(some(50_000))
    await peer.turn(10)
    assert sum(len(peer.data[stream]) for stream in streams) == 65_535
    peer.client.increment_flow_control_window(150_000 - 65_535)
    peer.send()
    await peer.turn(10)
    assert [bytes(peer.data[stream]) for stream in streams] == [some(50_000)] * 3
    assert sorted(peer.ended) == streams


async def test_headers_and_answers_without_data_need_no_window() -> None:
    peer = await Peer({SettingCodes.INITIAL_WINDOW_SIZE: 0}).greet()
    stream = peer.open()
    peer.recorders[stream].stream.end(RESPONSE + TRAILERS)
    await peer.turn()
    assert peer.ended == [stream]


@pytest.mark.parametrize("window", [2**16, 2**31 - 1])
async def test_a_small_answer_does_not_wait_for_a_huge_one(window: int) -> None:
    peer = await Peer({SettingCodes.INITIAL_WINDOW_SIZE: window}).greet()
    if window > 2**16:
        peer.client.increment_flow_control_window(2**31 - 1 - 65_535)
        peer.send()
    huge = peer.open()
    peer.recorders[huge].answer(bytes(64 * MIB))
    await peer.turn(1)
    small = peer.open()
    peer.recorders[small].answer(b"small")
    for _ in range(5):
        peer.acknowledge()
        await peer.turn(1)
    assert peer.ended == [small]
    assert len(peer.data[huge]) < 2 * MIB


async def test_no_turn_sends_all_that_many_streams_have() -> None:
    """What others say meanwhile would wait for it."""
    peer = await Peer({SettingCodes.INITIAL_WINDOW_SIZE: 2**20}).greet()
    peer.client.increment_flow_control_window(2**30)
    streams = [peer.open() for _ in range(50)]
    peer.reads = False
    for stream in streams:
        peer.recorders[stream].stream.begin(RESPONSE)
        peer.recorders[stream].stream.write(bytes(2**16))
    await peer.turn(10)
    assert 2**17 < len(peer.unread) < 2**19
    peer.resume()
    await peer.turn(50)
    assert {len(peer.data[stream]) for stream in streams} == {2**16}


async def test_streams_share_a_connections_window_in_turn() -> None:
    peer = await Peer({SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1}).greet()
    streams = [peer.open() for _ in range(5)]
    for stream in streams:
        peer.recorders[stream].answer(bytes(4 * MIB))
    for _ in range(200):
        peer.acknowledge()
        await peer.turn(1)
    shares = [len(peer.data[stream]) for stream in streams]
    assert min(shares) > 0
    assert max(shares) - min(shares) <= 2 * 2**16


async def test_what_is_left_of_a_large_message_is_not_copied_for_each_part_of_it() -> None:
    peer = await Peer({SettingCodes.INITIAL_WINDOW_SIZE: 10}).greet()
    stream = peer.open()
    message = bytes(MIB)
    peer.recorders[stream].answer(message)
    for _ in range(10):
        await peer.turn()
        peer.acknowledge()
    [left] = peer.recorders[stream].stream._out
    assert isinstance(left, memoryview)
    assert left.obj is message


async def test_who_writes_waits_while_its_reader_does_not_read() -> None:
    peer = await Peer().greet()
    stream = peer.open()
    written: list[int] = []
    writing = asyncio.create_task(write_parts(peer.recorders[stream].stream, bytes(10_000), 500, written))
    await peer.turn(50)
    assert 13 <= len(written) <= 14  # the client's 64 KiB, and 64 KiB that wait
    assert len(await peer.until_ended(stream)) == 5_000_000
    await writing


async def test_who_writes_waits_while_the_socket_is_full() -> None:
    peer = await Peer({SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1}).greet()
    peer.client.increment_flow_control_window(2**31 - 1 - 65_535)
    stream = peer.open()
    peer.reads = False
    written: list[int] = []
    writing = asyncio.create_task(write_parts(peer.recorders[stream].stream, bytes(10_000), 500, written))
    await peer.turn(50)
    assert len(peer.unread) < 2**18
    assert len(written) < 30
    peer.resume()
    assert len(await peer.until_ended(stream)) == 5_000_000
    await writing


async def test_who_writes_on_a_stream_that_is_lost_is_let_go_on() -> None:
    peer = await Peer({SettingCodes.INITIAL_WINDOW_SIZE: 0}).greet()
    stream = peer.open()
    writing = asyncio.create_task(write_parts(peer.recorders[stream].stream, bytes(2**16), 20, []))
    await peer.turn()
    assert not writing.done()
    peer.client.reset_stream(stream)
    peer.send()
    await writing
    assert not peer.server._streams


# What the client sends ---------------------------------------------------------------------------------------------


def upload(peer: Peer, stream: int, data: bytes) -> int:
    """Send as much as the windows let through; how much that was."""
    sent = 0
    while size := min(
        len(data) - sent, peer.client.local_flow_control_window(stream), peer.client.max_outbound_frame_size
    ):
        peer.client.send_data(stream, data[sent : sent + size])
        sent += size
    peer.send()
    return sent


async def test_an_upload_larger_than_the_streams_window_arrives() -> None:
    peer = await Peer().greet()
    stream = peer.open(end=False)
    data, sent = some(40 * MIB), 0
    while sent < len(data):
        progress = upload(peer, stream, data[sent : sent + MIB])
        assert progress
        sent += progress
        await peer.turn(1)
    assert peer.recorders[stream].data == data


async def test_an_upload_that_nobody_takes_waits_with_its_sender() -> None:
    peer = await Peer(takes=False).greet()
    stream, other = peer.open(end=False), peer.open(end=False)
    assert upload(peer, stream, bytes(2 * MIB)) == MIB
    await peer.turn()
    assert upload(peer, stream, bytes(MIB)) == 0
    assert upload(peer, other, b"small") == 5
    peer.recorders[stream].take()
    await peer.turn()
    assert upload(peer, stream, bytes(2 * MIB)) == MIB


async def test_small_credits_are_given_back_in_the_end() -> None:
    peer = await Peer().greet()
    stream = peer.open(end=False)
    for _ in range(5_000):
        assert upload(peer, stream, bytes(1_000)) == 1_000
        await peer.turn(1)
    updates = peer.of(h2.events.WindowUpdated)
    assert len([update for update in updates if update.stream_id == stream]) < 12


async def test_data_of_streams_that_are_over_is_credited_to_the_connection() -> None:
    """Else a connection would stand still after 2 GiB of such."""
    peer = await Peer().greet()
    stream = peer.open(end=False)
    peer.client.reset_stream(stream)
    for _ in range(2**15 + 100):
        peer.client.outbound_flow_control_window -= 2**14
        peer.send(frame(Kind.DATA, 0, stream, bytes(2**14)))
    assert not peer.recorders[stream].data
    assert peer.client.outbound_flow_control_window > 2**31 - 2**29
