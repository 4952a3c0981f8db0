"""Encoded writes say what the same messages say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud.firestore_v1 import _helpers
from hypothesis import given, strategies as st

from dsset import documents, protos
from dsset.encoded_writes import on_condition, plain_entry, time_entry, update, varint, write_request
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
        fields["token"] = protos.Value.FromString(item._token)
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
    own_value = protos.Value(bytes_value=own).SerializeToString() if own else b""
    item = ListedItem(item_id, b"value", _version=version.SerializeToString(), _token=own_value)
    others = [ListedItem(f"{n}", b"", _version=version.SerializeToString()) for n in range(2)]
    common = documents.tombstone_entries(token, expire_at)
    writes = documents.pops(f"{name}/".encode(), [item, *others], common)
    places = [f"{name}/{documents.document_id(one.id)}" for one in (item, *others)]
    expected = [
        tombstone(place, one, token, expire_at) for place, one in zip(places, (item, *others), strict=True)
    ]
    assert writes.messages() == expected
    assert writes.conditions == [(place, version) for place in places]
    request = protos.CommitRequest.FromString(write_request("d", [writes, expected[0]], token))
    assert request == protos.CommitRequest(database="d", writes=[*expected, expected[0]], transaction=token)


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


NAMES = st.text(st.characters(codec="utf-8"), max_size=200)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(codec="utf-8"), max_size=300),
    st.binary(max_size=300),
)


@given(NAMES, PLAIN)
def test_a_plain_field_is_what_google_would_encode(name: str, value: Any) -> None:
    encoded = plain_entry(name, value)
    assert encoded is not None
    decoded = protos.Document.FromString(encoded)
    expected = protos.Document(fields={name: _helpers.encode_value(value)._pb})
    assert decoded.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
    assert (
        encoded == expected.SerializeToString(deterministic=True) or not name
    )  # an empty key is left out there


@pytest.mark.parametrize("value", [[], {}, datetime(2026, 1, 1, tzinfo=UTC), 1j])
def test_what_is_not_plain_is_left_to_others(value: object) -> None:
    assert plain_entry("name", value) is None


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "\ud800"])
def test_what_firestore_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        plain_entry("name", value)


@given(NAMES, st.integers(-(2**36), 2**37), st.integers(0, 999_999_999))
def test_a_time_is_what_protobuf_would_encode(name: str, seconds: int, nanos: int) -> None:
    value = protos.Value(timestamp_value=protos.Timestamp(seconds=seconds, nanos=nanos))
    assert protos.Document.FromString(time_entry(name.encode(), seconds, nanos)) == protos.Document(
        fields={name: value}
    )


@given(NAMES, st.dictionaries(NAMES, PLAIN, max_size=4), st.lists(NAMES, max_size=4), st.none() | VERSIONS)
def test_an_update_is_what_protobuf_would_encode(
    name: str, fields: dict[str, Any], paths: list[str], version: Any | None
) -> None:
    entries = b"".join(plain_entry(key, value) or b"" for key, value in fields.items())
    expected = protos.Write(
        update=protos.Document.FromString(entries), update_mask=protos.DocumentMask(field_paths=paths)
    )
    expected.update.name = name
    write = update(name, entries, paths)
    assert write.message().SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )
    conditional = on_condition(write, name, None if version is None else version.SerializeToString())
    if version is None:
        expected.current_document.exists = False
    else:
        expected.current_document.update_time.CopyFrom(version)
    assert conditional.message().SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )
    assert conditional.name == name


def test_an_item_listed_from_another_set_is_popped_from_the_one_that_pops_it() -> None:
    here, there = b"databases/d/documents/queues/1/dsset/", b"databases/d/documents/queues/2/dsset/"
    document = protos.Document(
        name=f"{there.decode()}{documents.document_id('x')}", fields={"id": protos.Value(string_value="x")}
    )
    item = documents.decode(documents.as_listed(document))
    for prefix in (here, there):
        ((name, _),) = documents.pops(prefix, [item], b"").conditions
        assert name == prefix.decode() + documents.document_id("x")
