"""Encoded writes say what the same messages say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, strategies as st

from dsset import documents, protos
from dsset.encoded_writes import varint, write_request
from dsset.items import MAX_ID_BYTES, Item, ListedItem

IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60) | st.just("x" * MAX_ID_BYTES)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))
VERSIONS = st.builds(
    protos.Timestamp,
    seconds=st.integers(0, 2**37),
    nanos=st.integers(0, 999_999).map(lambda micros: micros * 1_000),
)


def tombstone(name: str, item: ListedItem, token: bytes, expire_at: datetime) -> Any:
    """The write, by protobuf's own means."""
    seconds, micros = divmod(documents.microseconds(expire_at), 1_000_000)
    fields = {
        "id": protos.Value(string_value=item.id),
        "due": protos.Value(integer_value=documents.GONE),
        "expire_at": protos.Value(timestamp_value=protos.Timestamp(seconds=seconds, nanos=micros * 1_000)),
    }
    if item._token:
        fields["token"] = protos.Value(bytes_value=item._token)
    if token:
        fields["popped_by"] = protos.Value(bytes_value=token)
    return protos.Write(
        update=protos.Document(name=name, fields=fields),
        current_document=protos.Precondition(update_time=protos.Timestamp.FromString(item._version)),
    )


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    IDS,
    st.binary(max_size=20),
    st.binary(max_size=20),
    MOMENTS,
    VERSIONS,
)
def test_a_pop_is_what_protobuf_would_encode(
    name: str, item_id: str, own: bytes, token: bytes, expire_at: datetime, version: Any
) -> None:
    item = ListedItem(item_id, b"value", _version=version.SerializeToString(), _token=own)
    write = documents.pop(name, item, documents.tombstone_entries(token, expire_at))
    expected = tombstone(name, item, token, expire_at)
    assert write.message() == expected
    assert write.name == name
    assert write.update_time == version
    request = protos.CommitRequest.FromString(write_request("d", [write, expected], token))
    assert request == protos.CommitRequest(database="d", writes=[expected, expected], transaction=token)


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    IDS,
    st.binary(max_size=300),
    st.none() | MOMENTS,
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9), st.text(st.characters(codec="utf-8"))),
    st.binary(max_size=20),
)
def test_an_add_is_what_protobuf_would_encode(
    name: str, item_id: str, value: bytes, after: datetime | None, metadata: dict[str, str], token: bytes
) -> None:
    fields = {
        "id": protos.Value(string_value=item_id),
        "value": protos.Value(bytes_value=value),
        "due": protos.Value(integer_value=0 if after is None else documents.microseconds(after)),
    }
    if token:
        fields["token"] = protos.Value(bytes_value=token)
    if metadata:
        strings = {key: protos.Value(string_value=text) for key, text in metadata.items()}
        fields["metadata"] = protos.Value(map_value=protos.MapValue(fields=strings))
    expected = protos.Write(
        update=protos.Document(name=name, fields=fields), current_document=protos.Precondition(exists=False)
    )
    write = documents.create(name, Item(item_id, value, after, metadata), token)
    assert write.message() == expected
    assert protos.BatchWriteRequest.FromString(write_request("d", [write, expected])) == (
        protos.BatchWriteRequest(database="d", writes=[expected, expected])
    )


@given(st.integers(0, 2**63 - 1) | st.sampled_from([0x7F, 0x80, 0x3FFF, 0x4000]))
def test_a_length_is_encoded_as_protobuf_does_it(number: int) -> None:
    value = protos.Value(integer_value=number)
    assert (b"\x10" + varint(number)) == value.SerializeToString() or number == 0
    assert protos.Value.FromString(b"\x10" + varint(number)).integer_value == number
