"""Protobuf's encoding, of what is put together by hand: messages would take several times as long."""

from __future__ import annotations

from functools import lru_cache


def varint(number: int) -> bytes:
    """A number that is not negative, with seven bits to a byte, the lowest first."""
    if number < 1 << 7:
        return bytes((number,))
    if number < 1 << 14:  # as the lengths of most documents
        return bytes((number & 0x7F | 0x80, number >> 7))
    if 1 << 28 <= number < 1 << 35:  # as the nanoseconds of most times
        return bytes(
            (
                number & 0x7F | 0x80,
                number >> 7 & 0x7F | 0x80,
                number >> 14 & 0x7F | 0x80,
                number >> 21 & 0x7F | 0x80,
                number >> 28,
            )
        )
    parts = bytearray()
    while number >= 1 << 7:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def framed(tag: bytes, data: bytes) -> bytes:
    """A field of a message: its tag, its length, and what it holds."""
    size = len(data)
    return b"%b%c%b" % (tag, size, data) if size < 0x80 else b"%b%b%b" % (tag, varint(size), data)


@lru_cache(maxsize=64)
def encoded_time(us: int) -> bytes:
    """The Timestamp of microseconds since the epoch: all that one commit writes has the same."""
    seconds, micros = divmod(us, 1_000_000)
    encoded = _encoded_seconds(seconds)
    return b"%b\x10%b" % (encoded, varint(micros * 1_000)) if micros else encoded


@lru_cache(maxsize=64)
def _encoded_seconds(seconds: int) -> bytes:
    """A Timestamp's seconds = 1, before 1970 as if their 64 bits had no sign; its nanos = 2 come behind."""
    return b"\x08" + varint(seconds % (1 << 64)) if seconds else b""
