"""A client that speaks just enough HTTP/2 to be rude: it opens gRPC calls and says nothing more on them."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_ACK, _END_HEADERS = 1, 4


class RawConnection:
    """One connection. What the server sends is read and, but for settings, forgotten."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._next_stream = 1
        self._reading = asyncio.ensure_future(self._read(reader))
        self.settled = asyncio.Event()

    @classmethod
    async def open(cls, address: str) -> RawConnection:
        """A connection on which the server has told its settings."""
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        connection = cls(reader, writer)
        writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
        await connection.settled.wait()
        return connection

    async def call(self, rpc: str, message: bytes | None = None) -> None:
        """Begin a call: its headers, and where there is one, a message; the call is never ended."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        path = f"/google.firestore.v1.Firestore/{rpc}"
        headers = ((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"))
        grpc = (("content-type", "application/grpc"), ("te", "trailers"))
        self._writer.write(_frame(_HEADERS, _END_HEADERS, stream, b"".join(map(_literal, headers + grpc))))
        if message is not None:
            self._writer.write(_frame(_DATA, 0, stream, b"\0" + struct.pack(">I", len(message)) + message))
        await self._writer.drain()

    async def send(self, data: bytes) -> None:
        """Send anything at all."""
        self._writer.write(data)
        await self._writer.drain()

    async def until_closed(self) -> None:
        """Return when the server has hung up."""
        await self._reading

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
        await self._reading

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(9)
                length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                payload = await reader.readexactly(length)
                if kind == _SETTINGS and not flags & _ACK:
                    self._writer.write(_frame(_SETTINGS, _ACK, 0, b""))
                    self.settled.set()
                elif kind == _PING and not flags & _ACK:
                    self._writer.write(_frame(_PING, _ACK, 0, payload))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _literal(header: tuple[str, str]) -> bytes:
    """A header field without indexing, its name and value as they are (RFC 7541, 6.2.2)."""
    return b"\0" + b"".join(bytes([len(part)]) + part.encode() for part in header)
