"""A connection of HTTP/2, from the server's side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from emulator.http2 import frames
from emulator.http2.frames import ConnectionError, ErrorCode, Kind, Setting
from emulator.http2.header_blocks import MAX_HEADER_BYTES, BlockReader
from emulator.http2.stream import STREAM_WINDOW, Receiver, Stream

_MAX_STREAMS = 10_000
"""Streams at a time on one connection; further ones wait at the client. An idle one takes 1 kB, one of Listen 15 kB."""

_MAX_FRAME = 2**20
"""Bytes of a frame that a client may send."""

_DEFAULT_WINDOW = 2**16 - 1
"""Of a connection, and of streams, until something else is said."""

_AT_ONCE = 2**18
"""Bytes of streams that go out in one turn of the event loop, or a little more: what others say meanwhile is heard."""

_MAX_ACKS = 64
"""Pings and settings within a second in which nothing else is sent; gRPC's servers take two pings in five minutes."""

_MAX_UNHEARD = 2**16
"""Bytes of answers to a peer's own frames, such as pings, that wait for it to read."""

Accept = Callable[[Stream, dict[bytes, bytes]], Receiver | None]
"""Takes a new stream and its request's headers; None: it has been answered already."""


class Connection(asyncio.Protocol):
    """One connection.

    Args:
        accept: what each new stream is handed to.
        connections: where it is while it is open.
    """

    def __init__(self, accept: Accept, connections: set[Connection]) -> None:
        self.out: list[bytes | memoryview] = []
        """What is to be sent."""
        self.send_window = _DEFAULT_WINDOW
        """Bytes that the peer takes on all streams."""
        self.max_frame = frames.MIN_MAX_FRAME
        """Bytes of a frame that the peer takes."""
        self._accept = accept
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._in = bytearray()
        self._greeted = False
        self._blocks = BlockReader()
        # a stream, its flags, and what has come of its headers
        self._open_block: tuple[int, int, bytearray] | None = None
        self._stream_window = _DEFAULT_WINDOW  # what new streams may send
        self._credit = 0  # bytes that were taken, and not told of
        self._streams: dict[int, Stream] = {}
        self._last_stream = 0
        self._sending: dict[Stream, None] = {}  # those that may have something to send, in turn
        self._blocked: dict[Stream, None] = {}  # those that wait for a window
        self._reading = False
        self._woken = False
        self._paused = False
        self._unheard = 0  # bytes that were sent while that is paused
        self._acks = 0
        self._acks_since = 0.0

    # asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._connections.add(self)
        ours = {
            Setting.MAX_CONCURRENT_STREAMS: _MAX_STREAMS,
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            Setting.MAX_FRAME_SIZE: _MAX_FRAME,
            Setting.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES,
        }
        # each stream has its window: none shall wait for another
        transport.write(frames.settings(ours) + frames.window_update(0, frames.MAX_WINDOW - _DEFAULT_WINDOW))

    def data_received(self, data: bytes) -> None:
        self._in += data
        self._reading = True
        try:
            self._read_frames()
        except ConnectionError as error:
            self._hang_up(error.code, error.message)
        finally:
            self._reading = False
        self._flush()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._unheard = 0
        self.wake(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        streams, self._streams = self._streams, {}
        self._sending.clear()
        self._blocked.clear()
        for stream in streams.values():
            stream.lose()

    # For streams, and for the server -----------------------------------------------------------------------------

    def wake(self, stream: Stream | None, *, at_once: bool = False) -> None:
        """Send what there is, also of this stream: at the loop's next turn, or at once."""
        if stream is not None:
            self._sending[stream] = None
        if self._reading:
            return  # what all the frames lead to that are there is sent together
        if at_once:
            self._flush()
        elif not self._woken:
            self._woken = True
            self._loop.call_soon(self._turn)

    def forget(self, stream: Stream) -> None:
        """Take note that a stream has ended."""
        self._streams.pop(stream.id, None)
        self._sending.pop(stream, None)
        self._blocked.pop(stream, None)

    def credit(self, stream: Stream, credit: int) -> None:
        """Let the peer send as much again on a stream; small credits are told of together."""
        stream.owed += credit
        if stream.owed > STREAM_WINDOW // 2 and not stream.closed:
            self.out.append(frames.window_update(stream.id, stream.owed))
            stream.receive_window += stream.owed
            stream.owed = 0
            self.wake(None)

    def close(self) -> None:
        """Break off all streams, and hang up."""
        self._hang_up(ErrorCode.NO_ERROR, "")

    # What comes in -----------------------------------------------------------------------------------------------

    def _read_frames(self) -> None:
        data = self._in
        at, size = 0, len(data)
        if not self._greeted:
            if size < len(frames.PREFACE):
                return
            self._greeted = True
            at = len(frames.PREFACE)
        while size - at >= frames.HEAD_BYTES:
            high, low, kind, flags, stream = frames.read_head(data, at)
            length = high << 8 | low
            if length > _MAX_FRAME:
                raise ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a frame is too large")
            begin = at + frames.HEAD_BYTES
            if size - begin < length:
                break
            at = begin + length
            self._read_frame(kind, flags, stream & frames.MAX_STREAM, bytes(data[begin:at]))
        del data[:at]

    def _read_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._open_block is not None and (kind != Kind.CONTINUATION or stream != self._open_block[0]):
            raise ConnectionError(ErrorCode.PROTOCOL_ERROR, "headers were not continued")
        read = _READERS.get(kind)
        if read is not None:  # what is unknown is left alone (RFC 9113, 4.1)
            read(self, flags, stream, payload)

    def _read_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & (frames.PADDED | frames.PRIORITY_FIELDS):
            payload = frames.without_padding(payload, flags)
        if not stream & 1:
            raise ConnectionError(ErrorCode.PROTOCOL_ERROR, "headers on a stream that is no client's")
        if flags & frames.END_HEADERS:
            self._begin(stream, flags, payload)
        else:
            self._open_block = stream, flags, bytearray(payload)

    def _read_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._open_block is None:
            raise ConnectionError(ErrorCode.PROTOCOL_ERROR, "there is nothing to continue")
        _, first_flags, block = self._open_block
        block += payload
        endless = not payload and not flags & frames.END_HEADERS
        if len(block) > MAX_HEADER_BYTES or endless:
            raise ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many headers")
        if flags & frames.END_HEADERS:
            self._open_block = None
            self._begin(stream, first_flags, bytes(block))

    def _begin(self, id: int, flags: int, block: bytes) -> None:
        headers = self._blocks.read(block)
        if id <= self._last_stream:
            known = self._streams.get(id)
            if known is None or known.half_closed:
                self.out.append(frames.rst_stream(id, ErrorCode.STREAM_CLOSED))
            else:
                self._end(known, flags)  # trailers, which gRPC's clients have none of
            return
        self._last_stream = id
        if len(self._streams) >= _MAX_STREAMS:
            self.out.append(frames.rst_stream(id, ErrorCode.REFUSED_STREAM))
            return
        stream = self._streams[id] = Stream(self, id, self._stream_window)
        stream.receiver = self._accept(stream, headers)
        self._end(stream, flags)

    def _read_data(self, flags: int, id: int, payload: bytes) -> None:
        credit = len(payload)
        if flags & frames.PADDED:
            payload = frames.without_padding(payload, flags & frames.PADDED)
        self._take(credit)
        stream = self._streams.get(id)
        if stream is None or stream.half_closed:
            if not id & 1 or id > self._last_stream:
                raise ConnectionError(ErrorCode.PROTOCOL_ERROR, "data on a stream that was not opened")
            return  # of one that has ended
        stream.receive_window -= credit
        if stream.receive_window < 0:
            raise ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "more data than the window lets through")
        if stream.receiver is not None:
            stream.receiver.received(payload, credit)
        else:
            self.credit(stream, credit)
        self._end(stream, flags)

    def _take(self, credit: int) -> None:
        """Let the peer send as much again on all streams together: each has a window of its own."""
        self._credit += credit
        if self._credit > frames.MAX_WINDOW // 4:
            self.out.append(frames.window_update(0, self._credit))
            self._credit = 0

    def _end(self, stream: Stream, flags: int) -> None:
        if flags & frames.END_STREAM:
            stream.half_closed = True
            if stream.receiver is not None:
                stream.receiver.ended()

    def _read_rst_stream(self, flags: int, id: int, payload: bytes) -> None:
        frames.read_number(payload)
        if not id & 1 or id > self._last_stream:
            raise ConnectionError(ErrorCode.PROTOCOL_ERROR, "a stream was reset that was not opened")
        stream = self._streams.get(id)
        if stream is not None:
            self.forget(stream)
            stream.lose()

    def _read_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionError(ErrorCode.PROTOCOL_ERROR, "settings are not of one stream")
        if flags & frames.ACK:
            return
        # the last of each holds, and a frame that repeats one costs no more than one
        for setting, value in dict(frames.read_settings(payload)).items():
            if setting == Setting.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large")
                for one in self._streams.values():  # it may become negative (RFC 9113, 6.9.2)
                    one.send_window += value - self._stream_window
                    if one.send_window > frames.MAX_WINDOW:
                        raise ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large")
                self._stream_window = value
            elif setting == Setting.MAX_FRAME_SIZE:
                if not frames.MIN_MAX_FRAME <= value <= frames.MAX_MAX_FRAME:
                    raise ConnectionError(ErrorCode.PROTOCOL_ERROR, "no size of a frame")
                self.max_frame = value
        self._acknowledge(Kind.SETTINGS, b"")
        self._unblock()

    def _read_ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream or len(payload) != 8:
            raise ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a ping has eight bytes, and no stream")
        if not flags & frames.ACK:
            self._acknowledge(Kind.PING, payload)

    def _acknowledge(self, kind: Kind, payload: bytes) -> None:
        now = self._loop.time()
        if now - self._acks_since > 1:
            self._acks, self._acks_since = 0, now
        self._acks += 1
        if self._acks > _MAX_ACKS:
            # gRPC's clients know these words
            raise ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
        self.out.append(frames.frame(kind, frames.ACK, 0, payload))

    def _read_window_update(self, flags: int, id: int, payload: bytes) -> None:
        increment = frames.read_number(payload)
        if not increment:
            raise ConnectionError(ErrorCode.PROTOCOL_ERROR, "a window was updated by nothing")
        if not id:
            self.send_window += increment
            if self.send_window > frames.MAX_WINDOW:
                raise ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large")
            self._unblock()
        elif (stream := self._streams.get(id)) is not None:
            stream.send_window += increment
            if stream.send_window > frames.MAX_WINDOW:
                raise ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large")
            if stream in self._blocked:
                del self._blocked[stream]
                self._sending[stream] = None
        elif not id & 1 or id > self._last_stream:
            raise ConnectionError(ErrorCode.PROTOCOL_ERROR, "the window of a stream that was not opened")

    def _read_push_promise(self, flags: int, stream: int, payload: bytes) -> None:
        raise ConnectionError(ErrorCode.PROTOCOL_ERROR, "clients push nothing")

    # What goes out -----------------------------------------------------------------------------------------------

    def _unblock(self) -> None:
        self._sending.update(self._blocked)
        self._blocked.clear()

    def _turn(self) -> None:
        self._woken = False
        self._flush()

    def _flush(self) -> None:
        if self._sending and not self._paused:
            self._acks = 0
            self._pump()
        if self.out:
            data, self.out = b"".join(self.out), []
            if self._transport.is_closing():
                return
            if self._paused:
                self._unheard += len(data)
                if self._unheard > _MAX_UNHEARD:
                    self._transport.abort()
                    return
            self._transport.write(data)
        if self._sending and not self._paused:
            self.wake(None)

    def _pump(self) -> None:
        """Let streams send in turn. Those that a window had nothing left for come first the next time."""
        sending, self._sending = self._sending, {}
        enough = self.send_window - _AT_ONCE
        starved: list[Stream] = []
        served: list[Stream] = []
        for stream in sending:
            window = self.send_window
            if window <= enough:
                self._sending[stream] = None
            elif not stream.pump(self):
                (starved if self.send_window == window else served).append(stream)
        for stream in (*starved, *served):
            waiting = self._blocked if min(stream.send_window, self.send_window) <= 0 else self._sending
            waiting[stream] = None

    def _hang_up(self, code: ErrorCode, message: str) -> None:
        self._sending.clear()
        self.out.append(frames.goaway(self._last_stream, code, message))
        self._flush()
        self._transport.close()
        if self._transport.get_write_buffer_size():  # its peer does not listen, and shall not be waited for
            self._transport.abort()


_READERS: dict[int, Callable[[Connection, int, int, bytes], None]] = {
    Kind.DATA: Connection._read_data,
    Kind.HEADERS: Connection._read_headers,
    Kind.RST_STREAM: Connection._read_rst_stream,
    Kind.SETTINGS: Connection._read_settings,
    Kind.PUSH_PROMISE: Connection._read_push_promise,
    Kind.PING: Connection._read_ping,
    Kind.WINDOW_UPDATE: Connection._read_window_update,
    Kind.CONTINUATION: Connection._read_continuation,
}
