"""The frames of HTTP/2 as bytes (RFC 9113, 4 and 6)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum

Headers = Iterable[tuple[bytes, bytes]]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of each connection (RFC 9113, 3.4)."""

HEAD_BYTES = 9
"""Of what stands before each frame's payload: its length, kind, flags, and stream."""

MAX_STREAM = MAX_WINDOW = 2**31 - 1
MIN_MAX_FRAME, MAX_MAX_FRAME = 2**14, 2**24 - 1

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FIELDS = 0x20


class Kind(IntEnum):
    """What a frame is."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    """What one side tells the other about itself; of these only, the others are of no use here."""

    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """Why a stream or a connection is broken off."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionError(Exception):
    """The peer has broken the rules: the connection has to end."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


_head = struct.Struct(">HBBBL")
_number = struct.Struct(">L")
_setting = struct.Struct(">HL")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return head(len(payload), kind, flags, stream) + payload


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """What stands before a payload of this length."""
    return _head.pack(length >> 8, length & 0xFF, kind, flags, stream)


def read_head(data: bytearray, at: int) -> tuple[int, int, int, int, int]:
    """What stands at a place of this data: a length's upper 16 and lower 8 bits, kind, flags, and stream."""
    return _head.unpack_from(data, at)


def settings(values: dict[Setting, int]) -> bytes:
    """The frame that tells these settings."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(_setting.pack(*one) for one in values.items()))


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """The settings that a frame tells: their numbers and values."""
    if len(payload) % _setting.size:
        raise ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "settings are of six bytes each")
    return _setting.iter_unpack(payload)


def window_update(stream: int, increment: int) -> bytes:
    """The frame that lets the peer send so many bytes more."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, _number.pack(increment))


def rst_stream(stream: int, code: ErrorCode) -> bytes:
    """The frame that breaks a stream off."""
    return frame(Kind.RST_STREAM, 0, stream, _number.pack(code))


def goaway(last_stream: int, code: ErrorCode, message: str) -> bytes:
    """The frame that ends a connection, and says which streams were heard of."""
    return frame(Kind.GOAWAY, 0, 0, _number.pack(last_stream) + _number.pack(code) + message.encode())


def read_number(payload: bytes) -> int:
    """The number of 31 bits that is all of a payload."""
    if len(payload) != _number.size:
        raise ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "expected four bytes")
    number: int = _number.unpack(payload)[0]
    return number & MAX_WINDOW


def without_padding(payload: bytes, flags: int) -> bytes:
    """What a DATA or HEADERS frame carries besides padding, and besides priorities, which nobody goes by."""
    begin, end = 0, len(payload)
    if flags & PADDED:
        begin = 1
        end -= payload[0] if payload else 0
    if flags & PRIORITY_FIELDS:
        begin += 5
    if begin > end:
        raise ConnectionError(ErrorCode.PROTOCOL_ERROR, "a frame has more padding than content")
    return payload[begin:end]
