"""Headers as HPACK's bytes (RFC 7541)."""

from __future__ import annotations

from hpack import Decoder, HPACKError
from hpack.table import HeaderTable

from emulator.http2.frames import ConnectionError, ErrorCode, Headers

MAX_HEADER_BYTES = 2**16
"""Of a request's headers, unpacked."""

_MAX_KEPT, _MAX_KEPT_BYTES = 256, 2**10
"""Blocks whose meaning is remembered, and the size of each."""


def encode(headers: Headers) -> bytes:
    """A block of headers as they are: no table of what was said before, so it can be made once and sent again."""
    return b"".join(b"\0%b%b%b%b" % (_length(name), name, _length(value), value) for name, value in headers)


class BlockReader:
    """Reads the blocks of one connection.

    A client says the same again and again, and reading it takes hpack half of the time that a small call needs in all.
    So what blocks mean is remembered for as long as nothing changes the table that they refer to.
    """

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=MAX_HEADER_BYTES)
        self._table = self._decoder.header_table = _WatchedTable()
        self._kept: dict[bytes, dict[bytes, bytes]] = {}

    def read(self, block: bytes) -> dict[bytes, bytes]:
        """The headers of a block, which must not be changed. Of equal names, the last one holds."""
        headers = self._kept.get(block)
        if headers is None:
            self._table.changed = _resizes(block)
            try:
                headers = dict(self._decoder.decode(block, raw=True))
            except HPACKError as error:
                raise ConnectionError(ErrorCode.COMPRESSION_ERROR, str(error)) from error
            if self._table.changed or len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            if not self._table.changed and len(block) <= _MAX_KEPT_BYTES:
                self._kept[block] = headers
        return headers


class _WatchedTable(HeaderTable):
    """The entries that blocks refer to by number; tells whether one was added."""

    changed = False

    def add(self, name: bytes, value: bytes) -> None:
        self.changed = True
        super().add(name, value)


def _resizes(block: bytes) -> bool:
    """Whether a block changes the table's size, which only its beginning can (RFC 7541, 4.2 and 6.3)."""
    return bool(block) and block[0] & 0xE0 == 0x20


def _length(text: bytes) -> bytes:
    """A length with a prefix of seven bits (RFC 7541, 5.1)."""
    size = len(text)
    if size < 127:
        return b"%c" % size
    size -= 127
    parts = bytearray(b"\x7f")
    while size >= 128:
        parts.append(size & 127 | 128)
        size >>= 7
    parts.append(size)
    return bytes(parts)
