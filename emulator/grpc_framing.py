"""gRPC's messages and headers as the bytes that HTTP/2 carries (gRPC's PROTOCOL-HTTP2.md), from the server's side."""

from __future__ import annotations

import re
import struct
import zlib
from urllib.parse import quote_from_bytes

from grpc import StatusCode

from emulator.status import Status

_prefix = struct.Struct(">BL")
"""What stands before each message: whether it is compressed, and its length."""

_PREFIX = _prefix.size

_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}
"""How zlib calls the encodings."""

ENCODINGS = b"identity, deflate, gzip"
"""What a client may compress its messages by."""

_TIMEOUT_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
"""Seconds."""

_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
"""The characters of a status message that go as they are."""

_MAX_QUOTED = 6 * 1024
"""Bytes of a status message: beyond 8 KiB of headers in all, chance decides whether gRPC's clients take them."""

_OUTER_BLANKS = re.compile(r"\A +| +\Z")


def frame(message: bytes) -> bytes:
    """A message as a response carries it."""
    return _prefix.pack(0, len(message)) + message


def status_trailers(code: StatusCode, message: str = "") -> list[tuple[bytes, bytes]]:
    """The headers that end a response."""
    trailers = [(b"grpc-status", b"%d" % code.value[0])]
    if message:
        data = message.encode(errors="replace")
        quoted = quote_from_bytes(data, safe=_PLAIN)
        if len(quoted) > _MAX_QUOTED:
            data = data[: _MAX_QUOTED // 3].decode(errors="ignore").encode() + b" [...]"
            quoted = quote_from_bytes(data, safe=_PLAIN)
        # no header begins or ends with a blank (RFC 9113, 8.2.1), and clients refuse one that does
        quoted = _OUTER_BLANKS.sub(lambda blanks: "%20" * len(blanks[0]), quoted)
        trailers.append((b"grpc-message", quoted.encode()))
    return trailers


def timeout(header: bytes) -> float | None:
    """Seconds of a `grpc-timeout`, such as b"100m"; None where it makes no sense."""
    unit = _TIMEOUT_UNITS.get(header[-1:])
    digits = header[:-1]
    return int(digits) * unit if unit is not None and digits.isdigit() and len(digits) <= 8 else None


class MessageReader:
    """Takes the bytes of a request's stream apart.

    Args:
        encoding: the request's `grpc-encoding`.
        max_bytes: of a message, also after it is unpacked.
    """

    def __init__(self, encoding: bytes, max_bytes: int) -> None:
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete with these bytes.

        Raises:
            Status: a message is too large, or cannot be unpacked.
        """
        buffer = self._buffer
        buffer += data
        messages = []
        while len(buffer) >= _PREFIX:
            end = _PREFIX + int.from_bytes(buffer[1:_PREFIX], "big")
            if end - _PREFIX > self._max_bytes:
                raise self._too_large(end - _PREFIX)
            if len(buffer) < end:
                break
            message = bytes(buffer[_PREFIX:end])
            messages.append(self._unpack(message) if buffer[0] else message)
            del buffer[:end]
        return messages

    def check_end(self) -> None:
        """Take note that no more bytes come.

        Raises:
            Status: they end within a message.
        """
        if self._buffer:
            raise Status(StatusCode.INTERNAL, "The request ends within a message.")

    def _unpack(self, message: bytes) -> bytes:
        if self._encoding == b"identity":
            raise Status(StatusCode.INTERNAL, "A message is compressed, and no grpc-encoding tells how.")
        bits = _WINDOW_BITS.get(self._encoding)
        if bits is None:
            raise Status(
                StatusCode.UNIMPLEMENTED,
                f"A message is compressed by {self._encoding.decode(errors='replace')!r}: expected one of "
                f"{ENCODINGS.decode()}.",
            )
        unpacking = zlib.decompressobj(wbits=bits)
        try:
            unpacked = unpacking.decompress(message, self._max_bytes + 1)
        except zlib.error as error:
            raise Status(StatusCode.INTERNAL, f"A compressed message cannot be unpacked: {error}.") from error
        if len(unpacked) > self._max_bytes:
            raise self._too_large(None)
        if not unpacking.eof:
            raise Status(StatusCode.INTERNAL, "A compressed message cannot be unpacked: its end is missing.")
        return unpacked

    def _too_large(self, size: int | None) -> Status:
        what = "unpacked" if size is None else f"{size} bytes"
        return Status(
            StatusCode.RESOURCE_EXHAUSTED, f"Received message larger than max ({what} vs. {self._max_bytes})"
        )
