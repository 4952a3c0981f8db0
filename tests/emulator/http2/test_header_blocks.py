"""HPACK: what is remembered of blocks never differs from what they say."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, strategies as st

from emulator.http2 import encode
from emulator.http2.frames import ConnectionError, ErrorCode
from emulator.http2.header_blocks import MAX_HEADER_BYTES, BlockReader

names = st.sampled_from([b":path", b"te", b"user-agent", b"x-a", b"x-b", b"x-c", b"grpc-timeout"])
values = st.one_of(st.sampled_from([b"", b"1", b"trailers", b"x" * 100]), st.binary(max_size=8))
fields = st.tuples(names, values, st.booleans())
steps = st.one_of(
    st.integers(0, 300).map(lambda size: ("resize", size)),
    st.lists(fields, max_size=5).map(lambda headers: ("headers", headers)),
    st.integers(0, 10).map(lambda back: ("again", back)),
)


@given(st.lists(steps, max_size=40))
def test_blocks_that_are_remembered_say_what_a_decoder_reads(steps: list[tuple[str, Any]]) -> None:
    encoder, decoder, reader = Encoder(), Decoder(), BlockReader()
    said: list[Any] = [[]]
    for step, value in steps:
        if step == "resize":
            encoder.header_table_size = value
            continue
        headers = value if step == "headers" else said[max(0, len(said) - 1 - value)]
        said.append(headers)
        # those that must not be remembered by their receiver are literals without a place in the table
        block = encoder.encode([(name, text, secret) for name, text, secret in headers])
        assert reader.read(block) == dict(decoder.decode(block, raw=True))


def test_a_block_that_means_something_else_by_now_is_read_anew() -> None:
    """The same bytes, a reference to the table's first entry, after another entry has taken its place."""
    reader = BlockReader()
    first, refers = b"\x40\x01a\x011", b"\xbe"
    assert reader.read(first) == {b"a": b"1"}
    assert reader.read(refers) == reader.read(refers) == {b"a": b"1"}
    assert reader.read(b"\x40\x01b\x012") == {b"b": b"2"}
    assert reader.read(refers) == {b"b": b"2"}


def test_a_table_that_is_made_smaller_forgets_what_blocks_refer_to() -> None:
    reader = BlockReader()
    reader.read(b"\x40\x01a\x011")
    assert reader.read(b"\xbe") == {b"a": b"1"}
    assert reader.read(b"\x20\x3f\xe1\x1f") == {}  # to nothing, and to 4,096 bytes again
    with pytest.raises(ConnectionError) as raised:
        reader.read(b"\xbe")
    assert raised.value.code is ErrorCode.COMPRESSION_ERROR


def test_an_entry_too_large_for_the_table_empties_it() -> None:
    reader = BlockReader()
    reader.read(b"\x40\x01a\x011")
    reader.read(b"\xbe")
    reader.read(Encoder().encode([(b"b", b"x" * 5_000)]))
    with pytest.raises(ConnectionError):
        reader.read(b"\xbe")


def test_what_is_said_again_is_read_once() -> None:
    reader = BlockReader()
    reader.read(b"\x40\x01a\x011")
    assert reader.read(b"\xbe") is reader.read(b"\xbe")


def test_neither_many_nor_large_blocks_are_remembered() -> None:
    reader = BlockReader()
    for n in range(1_000):
        reader.read(encode([(b"a", b"%d" % n)]))
        assert len(reader._kept) <= 256
    large = encode([(b"a", b"x" * 2_000)])
    assert reader.read(large) == {b"a": b"x" * 2_000}
    assert large not in reader._kept


@given(st.binary(max_size=60))
def test_any_bytes_are_headers_or_an_error_of_the_connection(block: bytes) -> None:
    reader = BlockReader()
    reader.read(b"\x40\x01a\x011")
    with suppress(ConnectionError):
        reader.read(block)


def test_headers_that_unpack_into_too_many_are_refused() -> None:
    reader = BlockReader()
    with pytest.raises(ConnectionError) as raised:
        reader.read(b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4_000 + b"\xbe" * (MAX_HEADER_BYTES // 4_000 + 1))
    assert raised.value.code is ErrorCode.COMPRESSION_ERROR


@given(
    st.lists(
        st.tuples(
            st.integers(1, 400).map(lambda size: b"n" * size),
            st.sampled_from([0, 1, 126, 127, 128, 254, 255, 256, 16_510, 16_511, 16_512, 40_000]).map(bytes),
        ),
        max_size=4,
    )
)
def test_headers_of_any_length_are_read_as_they_were_written(headers: list[tuple[bytes, bytes]]) -> None:
    decoder = Decoder(max_header_list_size=2**20)
    assert decoder.decode(encode(headers), raw=True) == headers
