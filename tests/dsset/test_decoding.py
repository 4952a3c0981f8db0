"""What a listing reads out of encoded documents is what protobuf reads out of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from dsset import documents, protos
from dsset.listed_protos import RunQueryResponse

TEXTS = st.text(st.characters(codec="utf-8"), max_size=300)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECONDS = st.integers(0, 2**48)


def value(**kind: Any) -> Any:
    return protos.Value(**kind)


def at(microseconds: int) -> Any:
    seconds, micros = divmod(microseconds, 1_000_000)
    return protos.Timestamp(seconds=seconds, nanos=micros * 1_000)


def values(kind: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly of the kind that belongs there."""
    return st.one_of(
        kind,
        kind,
        st.sampled_from([value(null_value=0), value(boolean_value=True), value(double_value=1.5), value()]),
        st.just(value(geo_point_value={"latitude": 1.0, "longitude": 2.0})),
    )


DOCUMENTS = st.builds(
    lambda name, fields, created, updated: protos.Document(
        name=name, fields=fields, create_time=at(created), update_time=at(updated)
    ),
    TEXTS,
    st.fixed_dictionaries(
        {},
        optional={
            "id": values(TEXTS.map(lambda text: value(string_value=text))),
            "value": values(st.binary(max_size=300).map(lambda data: value(bytes_value=data))),
            "due": values((st.just(0) | MICROSECONDS).map(lambda due: value(integer_value=due))),
            "token": values(st.binary(max_size=20).map(lambda token: value(bytes_value=token))),
            "metadata": values(
                st.dictionaries(TEXTS, TEXTS.map(lambda text: value(string_value=text)), max_size=3).map(
                    lambda strings: value(map_value=protos.MapValue(fields=strings))
                )
            ),
            "created_at": values(MICROSECONDS.map(lambda moment: value(timestamp_value=at(moment)))),
            "another": values(st.just(value(string_value="of somebody else"))),
        },
    ),
    MICROSECONDS,
    MICROSECONDS,
)


@given(DOCUMENTS)
@example(protos.Document())
def test_an_item_is_what_protobuf_would_decode(document: Any) -> None:
    fields = {key: document.fields[key] for key in document.fields}
    none = value()
    due = fields.get("due", none).integer_value
    created = fields["created_at"].timestamp_value if "created_at" in fields else document.create_time
    answer = protos.RunQueryResponse(document=document, read_time=at(1)).SerializeToString()
    item = documents.decode(RunQueryResponse.FromString(answer).document)
    assert item.id == fields.get("id", none).string_value
    assert item.value == fields.get("value", none).bytes_value
    assert item.process_after == (None if due == 0 else EPOCH + timedelta(microseconds=due))
    assert item.metadata == {
        key: one.string_value for key, one in fields.get("metadata", none).map_value.fields.items()
    }
    assert item.created_at == EPOCH + timedelta(seconds=created.seconds, microseconds=created.nanos // 1_000)
    assert protos.Timestamp.FromString(item._version) == document.update_time
    assert protos.Value.FromString(item._token) == fields.get("token", none)
    assert item._name.decode() == document.name
    listed = documents.as_listed(document)
    assert (documents.decode(listed), documents.cursor(listed)) == (item, (due, document.name))


@given(DOCUMENTS)
def test_what_is_kept_of_an_item_elsewhere_makes_it_again(document: Any) -> None:
    item = documents.decode(documents.as_listed(document))
    kept = protos.Document(fields=documents.fields_of(item), create_time=at(1))
    again = documents.decode(documents.as_listed(kept))
    assert again == item
    assert protos.Value.FromString(again._token) == protos.Value.FromString(item._token)


@pytest.mark.parametrize(
    "size", [0, 1, 0x7F, 0x80, 0x81, 0x3FFF, 0x4000, 0x4001, 999_999, 1_000_000, 1_040_000]
)
def test_a_value_of_any_length_comes_out_whole(size: int) -> None:
    data = bytes([size % 251]) * size
    document = protos.Document(
        fields={"id": value(string_value="i" * size), "value": value(bytes_value=data)}
    )
    item = documents.decode(documents.as_listed(document))
    assert (item.id, item.value) == ("i" * size, data)
