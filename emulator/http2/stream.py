"""A stream of HTTP/2, from the server's side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from emulator.http2.frames import END_HEADERS, END_STREAM, ErrorCode, Kind, head, rst_stream

if TYPE_CHECKING:
    from emulator.http2.connection import Connection

STREAM_WINDOW = 2**20
"""Bytes that a client may send on a stream before they are taken."""

_AT_ONCE = 2**16
"""Bytes that a stream sends before it is another's turn."""

_HIGH_WATER = 2**16
"""Bytes that wait to be sent on a stream before whoever writes them has to wait."""

_PARTS_IN_A_TURN = 4
"""So many times as much is sent of one stream before others have their turn, which takes some 2 ms."""


class Receiver(Protocol):
    """Whoever answers a stream."""

    def received(self, data: bytes, credit: int) -> None:
        """Take data; the peer may send as much again once `Stream.credit` has given back the credit that it took."""

    def ended(self) -> None:
        """Take note that the peer sends no more."""

    def lost(self) -> None:
        """Take note that the stream is gone: its peer has broken it off, or the connection was lost."""


class Stream:
    """One stream. Headers are blocks, encoded already.

    What is said to it is sent at the event loop's next turn, together with what others have to send; its end at once.
    """

    __slots__ = (
        "_begin",
        "_connection",
        "_end",
        "_out",
        "_parts",
        "_room",
        "_waiting",
        "closed",
        "half_closed",
        "id",
        "owed",
        "receive_window",
        "receiver",
        "send_window",
    )

    def __init__(self, connection: Connection, id: int, send_window: int) -> None:
        self.id = id
        self.receiver: Receiver | None = None
        self.send_window = send_window
        """Bytes that the peer takes."""
        self.receive_window = STREAM_WINDOW
        """Bytes that the peer may send."""
        self.owed = 0
        """Bytes that it may send besides, and has not been told of."""
        self.half_closed = False
        """Whether the peer sends no more."""
        self.closed = False
        """Whether nothing is sent any more."""
        self._connection = connection
        self._begin: bytes | None = None
        self._out: list[bytes | memoryview] = []
        self._waiting = 0  # bytes of it
        self._end: bytes | None = None
        self._room: asyncio.Future[None] | None = None
        self._parts = 0  # how often there had to be room

    def begin(self, headers: bytes) -> None:
        """Send the response's headers."""
        self._begin = headers
        self._connection.wake(self)

    def write(self, data: bytes) -> bool:
        """Send data after what was written before; whether there is room for more, or `room` should be waited for."""
        if not self._out:  # else it is awake, or waits for a window
            self._connection.wake(self)
        self._out.append(data)
        self._waiting += len(data)
        return self._waiting < _HIGH_WATER

    async def room(self) -> None:
        """Send what was written, and return once there is room for more; others have their turns now and then."""
        self._connection.wake(self, at_once=True)
        if self._waiting >= _HIGH_WATER and not self.closed:
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        self._parts += 1
        if self._parts % _PARTS_IN_A_TURN == 0 or self.closed:
            await asyncio.sleep(0)

    def end(self, headers: bytes) -> None:
        """End the stream with headers, once all is sent that was written.

        That goes out at once, for whoever asked waits for it: the loop's next turn may be behind another's long work.
        """
        self._end = headers
        self._connection.wake(self, at_once=True)

    def credit(self, credit: int) -> None:
        """Let the peer send as much again."""
        self._connection.credit(self, credit)

    # For the connection ----------------------------------------------------------------------------------------

    def pump(self, connection: Connection) -> bool:
        """Hand on what the windows let through, and is not too much at once; whether that was all."""
        if self.closed:
            return True
        out = connection.out
        if self._begin is not None:
            self._send_headers(out, self._begin, 0, connection.max_frame)
            self._begin = None
        if self._out:
            self._send_data(connection)
        if self._waiting < _HIGH_WATER:
            self._make_room()
        if self._out:
            return False
        if self._end is not None:
            self._send_headers(out, self._end, END_STREAM, connection.max_frame)
            if not self.half_closed:  # whatever the peer still says is of no use (RFC 9113, 8.1)
                out.append(rst_stream(self.id, ErrorCode.NO_ERROR))
            self.closed = True
            self.receiver = None  # it knows the stream: neither would be freed but as garbage, late
            connection.forget(self)
        return True

    def lose(self) -> None:
        """It is gone."""
        self.closed = True
        self._make_room()
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.lost()

    def _send_headers(self, out: list[bytes | memoryview], block: bytes, flags: int, max_frame: int) -> None:
        kind = Kind.HEADERS
        while len(block) > max_frame:
            out += (head(max_frame, kind, flags, self.id), block[:max_frame])
            block, kind, flags = block[max_frame:], Kind.CONTINUATION, 0
        out += (head(len(block), kind, flags | END_HEADERS, self.id), block)

    def _send_data(self, connection: Connection) -> None:
        window = min(self.send_window, connection.send_window, _AT_ONCE)
        if window <= 0:
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        sending = min(len(data), window)
        for at in range(0, sending, connection.max_frame):
            part = data[at : min(at + connection.max_frame, sending)]
            connection.out += (head(len(part), Kind.DATA, 0, self.id), part)
        self.send_window -= sending
        connection.send_window -= sending
        self._waiting = len(data) - sending
        # no copy of what is left, or a large message would be copied again for each part of it
        self._out = [memoryview(data)[sending:]] if self._waiting else []

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None
