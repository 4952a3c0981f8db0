"""What is encoded by hand is what protobuf's own encoding says."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import example, given

from emulator.firestore import protos
from emulator.firestore.encoding import encoded_time, framed, varint
from emulator.firestore.limits import _MAX_SECONDS, _MIN_SECONDS
from emulator.firestore.versions import new_version, timestamp

TIMES = st.one_of(
    st.integers(_MIN_SECONDS * 1_000_000, _MAX_SECONDS * 1_000_000 + 999_999),
    st.integers(_MIN_SECONDS, _MAX_SECONDS).map(lambda seconds: seconds * 1_000_000),
    st.integers(-2_000_000, 2_000_000),
)


@given(TIMES)
@example(0)
@example(-1)
@example(_MIN_SECONDS * 1_000_000)
@example(_MAX_SECONDS * 1_000_000 + 999_999)
def test_a_time_is_encoded_as_protobuf_does_it(us: int) -> None:
    assert encoded_time(us) == timestamp(us).SerializeToString()


@given(st.one_of(st.integers(0, (1 << 64) - 1), st.integers(0, 64).map(lambda bits: (1 << bits) - 1)))
@example(1 << 7)
@example(1 << 14)
@example(1 << 28)
@example(1 << 35)
@example(1 << 63)
def test_a_number_is_encoded_as_protobuf_does_it(number: int) -> None:
    signed = number - (1 << 64) if number >> 63 else number
    assert b"\x10" + varint(number) == protos.Value(integer_value=signed).SerializeToString()


@given(st.integers(0, 300) | st.integers(16_380, 16_390))
def test_a_field_is_framed_as_protobuf_does_it(size: int) -> None:
    data = b"x" * size
    assert framed(b"\x92\x01", data) == protos.Value(bytes_value=data).SerializeToString()


@given(TIMES, TIMES)
def test_a_version_holds_the_document_with_its_times(created_us: int, time_us: int) -> None:
    document = protos.Document(name="n", fields={"x": protos.Value(integer_value=1)})
    version = new_version("n", document.SerializeToString(), created_us, time_us)
    document.create_time.CopyFrom(timestamp(created_us))
    document.update_time.CopyFrom(timestamp(time_us))
    assert version.data == document.SerializeToString()
