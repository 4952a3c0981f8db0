"""h2 on a socket: a client whose every byte a test decides on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.events

HEADERS = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/test.Talking/Say",
    ":authority": "x",
    "content-type": "application/grpc",
    "te": "trailers",
}


class Http2Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.headers: dict[int, list[dict[str, str]]] = defaultdict(list)
        """The blocks of headers that came on each stream."""
        self.data: dict[int, bytes] = defaultdict(bytes)
        self.ended: set[int] = set()
        self.acknowledges = True
        """Whether the server may send on."""
        self._pings = 0
        self.h2.initiate_connection()

    @classmethod
    @asynccontextmanager
    async def open(cls, address: str) -> AsyncIterator[Http2Client]:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        client = cls(reader, writer)
        try:
            await client.send()
            await client.hear()  # the server's settings
            yield client
        finally:
            writer.close()

    async def send(self) -> None:
        self._writer.write(self.h2.data_to_send())
        await self._writer.drain()

    async def begin(self, data: bytes | None = b"", *, end: bool = True, **headers: str | None) -> int:
        """Begin a call: its number. `headers` are more than the usual, "_" for "-", or None for less."""
        stream: int = self.h2.get_next_available_stream_id()
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        path = more.pop("path", None)
        all = {**HEADERS, **({":path": path} if path else {}), **more}
        self.h2.send_headers(stream, [(name, value) for name, value in all.items() if value is not None])
        if data is not None:
            await self.write(stream, data, end=end)
        await self.send()
        return stream

    async def write(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send data, waiting for windows."""
        while data:
            size = min(len(data), self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            self.h2.send_data(stream, data[:size])
            data = data[size:]
            await self.send()
            if data and not self.h2.local_flow_control_window(stream):
                await self.hear()
        if end:
            self.h2.end_stream(stream)
        await self.send()

    async def call(self, data: bytes = b"", **headers: str | None) -> dict[str, str]:
        """The trailers of a call that ends."""
        return await self.until_ended(await self.begin(data, **headers))

    async def until_ended(self, stream: int) -> dict[str, str]:
        """Its trailers."""
        while stream not in self.ended:
            assert await self.hear(), "the server has hung up"
        return self.headers[stream][-1]

    async def ping(self) -> None:
        """Return once the server has answered to all that was sent before."""
        answered = self._pings
        self.h2.ping(bytes(8))
        await self.send()
        while self._pings == answered:
            assert await self.hear(), "the server has hung up"

    async def hear(self) -> bool:
        """Take in what comes next; False: nothing does any more."""
        data = await self._reader.read(2**18)
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                self.data[event.stream_id] += event.data
                if self.acknowledges:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.PingAckReceived):
                self._pings += 1
            elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                self.headers[event.stream_id].append(dict(event.headers))
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
        await self.send()
        return bool(data)


def message(value: bytes, *, compressed: bool = False) -> bytes:
    """As gRPC sends it."""
    return bytes([compressed]) + len(value).to_bytes(4, "big") + value
