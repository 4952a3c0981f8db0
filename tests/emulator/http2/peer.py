"""h2 as the client of a Connection, without a socket between them."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from emulator.http2 import Connection, Stream, encode

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/x/y"), (":authority", "x")]
RESPONSE = encode([(b":status", b"200")])
TRAILERS = encode([(b"grpc-status", b"0")])


class Recorder:
    """Answers nothing by itself; tells what it was told.

    Args:
        takes: whether it gives back credit as data come.
    """

    def __init__(self, stream: Stream, headers: dict[bytes, bytes], *, takes: bool = True) -> None:
        self.stream = stream
        self.headers = headers
        self.data = bytearray()
        self.withheld = 0
        self.is_ended = self.is_lost = False
        self._takes = takes

    def received(self, data: bytes, credit: int) -> None:
        self.data += data
        self.withheld += credit
        if self._takes:
            self.take()

    def take(self) -> None:
        self.stream.credit(self.withheld)
        self.withheld = 0

    def ended(self) -> None:
        self.is_ended = True

    def lost(self) -> None:
        self.is_lost = True

    def answer(self, data: bytes) -> None:
        self.stream.begin(RESPONSE)
        self.stream.write(data)
        self.stream.end(TRAILERS)


class Peer:
    """The transport of a Connection, and the client at its other end.

    Args:
        settings: the client's.
        takes: whether the server's recorders give back credit as data come.
    """

    def __init__(self, settings: dict[int, int] | None = None, *, takes: bool = True) -> None:
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.client.local_settings = h2.settings.Settings(client=True, initial_values=settings or {})
        self.client.max_inbound_frame_size = self.client.local_settings.max_frame_size
        self.recorders: dict[int, Recorder] = {}
        """What the server has on each stream that came."""
        self.connections: set[Connection] = set()
        self.events: list[h2.events.Event] = []
        self.data: dict[int, bytearray] = defaultdict(bytearray)
        self.ended: list[int] = []
        """The streams that have ended, in their order."""
        self._unacknowledged: list[tuple[int, int]] = []
        self.unread: bytearray = bytearray()
        """What the server has sent, while the client does not read."""
        self.reads = True
        self.closed: str | None = None
        """How the server has hung up."""
        self._lost = False
        self.broken: Exception | None = None
        """The rule that the server has broken."""
        self._takes = takes
        self.server = Connection(self._accept, self.connections)

    def _accept(self, stream: Stream, headers: dict[bytes, bytes]) -> Recorder | None:
        recorder = self.recorders[stream.id] = Recorder(stream, headers, takes=self._takes)
        return recorder

    # The client ----------------------------------------------------------------------------------------------------

    async def greet(self) -> Peer:
        """Exchange prefaces."""
        self.client.initiate_connection()
        self.server.connection_made(self)
        self.send()
        await self.turn()
        return self

    def open(self, *, end: bool = True, headers: list[tuple[str, str]] = REQUEST) -> int:
        """Begin a stream; its number."""
        stream: int = self.client.get_next_available_stream_id()
        self.client.send_headers(stream, headers, end_stream=end)
        self.send()
        return stream

    def send(self, data: bytes = b"") -> None:
        """Send what h2 has to send, and these bytes."""
        data = self.client.data_to_send() + data
        if data and self.closed is None:
            self.server.data_received(data)

    async def turn(self, turns: int = 3) -> None:
        """Let the event loop do what is due."""
        for _ in range(turns):
            await asyncio.sleep(0)

    async def until_ended(self, stream: int) -> bytes:
        """What the server sends on a stream; the client lets it send on."""
        while stream not in self.ended:
            assert (self.closed, self.broken) == (None, None)
            self.acknowledge()
            await self.turn(1)
        return bytes(self.data[stream])

    def acknowledge(self) -> None:
        """Give back all credit."""
        for stream, credit in self._unacknowledged:
            self.client.acknowledge_received_data(credit, stream)
        self._unacknowledged.clear()
        self.send()

    def of(self, kind: type) -> list:  # type: ignore[type-arg]
        return [event for event in self.events if isinstance(event, kind)]

    def goaway(self) -> tuple[int, bytes]:
        """The error that the server has hung up for."""
        [event] = self.of(h2.events.ConnectionTerminated)
        assert self.closed is not None
        return event.error_code, event.additional_data or b""

    def resume(self) -> None:
        """Read again."""
        self.reads = True
        data, self.unread = bytes(self.unread), bytearray()
        self._hear(data)
        self.server.resume_writing()

    def _hear(self, data: bytes) -> None:
        for event in self.client.receive_data(data):
            self.events.append(event)
            if isinstance(event, h2.events.DataReceived):
                self.data[event.stream_id] += event.data
                self._unacknowledged.append((event.stream_id, event.flow_controlled_length))
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.append(event.stream_id)

    # asyncio.Transport ---------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        assert self.closed is None
        if self.reads:
            try:
                self._hear(data)
            except h2.exceptions.ProtocolError as error:
                self.broken = error  # or nobody would learn of it but the event loop
                raise
            return
        self.unread += data
        if len(self.unread) > 2**16:
            self.server.pause_writing()

    def is_closing(self) -> bool:
        return self.closed is not None

    def get_write_buffer_size(self) -> int:
        return len(self.unread)

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("aborted")

    def _end(self, how: str) -> None:
        if not self._lost and (how == "aborted" or not self.unread):
            self._lost = True
            asyncio.get_running_loop().call_soon(self.server.connection_lost, None)
            self.closed = how
        self.closed = self.closed or how
