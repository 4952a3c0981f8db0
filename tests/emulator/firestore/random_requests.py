"""Requests of every kind, for hypothesis: any message of its class, with names that mostly mean something."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from google.protobuf.descriptor import FieldDescriptor

from emulator.firestore.service import BIDIRECTIONAL, STREAMING, UNARY

NOW = 1_893_456_000
"""Where a `ManualClock` begins, in seconds since the epoch: a time near it can be read at."""

DATABASE = "projects/p/databases/(default)"
ROOT = f"{DATABASE}/documents"
RPCS = {**UNARY, **STREAMING}

_DEPTH = 7
"""Messages inside messages; deep enough for a filter in a filter, and for a map in an array in a map."""

_TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=4),
    st.sampled_from(["", ".", "..", "/", "a", "b", "__name__", "__x__", "\0", "é", "a/b", "a" * 1_600]),
)
_PATHS = st.lists(st.sampled_from(["a", "1", "b", "..", ".", "", "__x__", "é\0"]), max_size=5).map("/".join)


def _mostly(good: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Odd ones are rare, so that a request with many parts gets far before one of them ends it."""
    return st.integers(0, 14).flatmap(lambda n: odd if n == 14 else good)


_NAMES = _mostly(
    st.sampled_from([f"{ROOT}/a/1", f"{ROOT}/a/2", f"{ROOT}/a/1/b/1", f"{ROOT}/b/1", f"{ROOT}/a/new"]),
    st.one_of(st.sampled_from([ROOT, f"{ROOT}/a"]), _PATHS.map(lambda path: f"{ROOT}/{path}"), _TEXTS),
)
_FIELDS = _mostly(
    st.sampled_from(["__name__", "n", "m", "m.x", "m.`x y`", "m.x.y", "l", "s", "t"]),
    st.one_of(st.sampled_from(["`", "a..b", "n" * 2_000, "__x__"]), _TEXTS),
)
_KNOWN: dict[str, st.SearchStrategy[Any]] = {
    "name": _NAMES,
    "parent": _mostly(st.sampled_from([ROOT, f"{ROOT}/a/1"]), _NAMES),
    "delete": _NAMES,
    "documents": _NAMES,
    "document": _NAMES,
    "reference_value": _NAMES,
    "database": _mostly(st.just(DATABASE), _TEXTS),
    "collection_id": _mostly(st.sampled_from(["a", "b", ""]), _TEXTS),
    "document_id": _mostly(st.sampled_from(["1", "", "new"]), _TEXTS),
    "field_path": _FIELDS,
    "field_paths": _FIELDS,
    "order_by": _mostly(
        st.sampled_from(["", "n", "n desc, m", "n asc,", "__name__ desc"]),
        st.one_of(_FIELDS, st.just("n sideways")),
    ),
    "page_token": _mostly(st.just(""), st.one_of(_TEXTS, st.sampled_from(["YQ==", "!!!", "cHJvamVjdHM="]))),
    "offset": _mostly(st.integers(0, 2), st.sampled_from([-1, 2**31 - 1, -(2**31)])),
    "page_size": _mostly(st.integers(0, 2), st.sampled_from([-1, 2**31 - 1, -(2**31)])),
}
_NEEDED = {*_KNOWN, "field", "value", "op", "filters", "aggregations", "structured_query"}
"""What most requests are refused without."""

_INTEGERS = {
    32: st.one_of(st.integers(-2, 3), st.sampled_from([-(2**31), 2**31 - 1, 10**9])),
    64: st.one_of(st.integers(-2, 3), st.sampled_from([-(2**63), 2**63 - 1, 2**53, 253402300800])),
}
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: _INTEGERS[32],
    FieldDescriptor.CPPTYPE_INT64: _INTEGERS[64],
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_ENUM: _mostly(st.integers(1, 10), st.sampled_from([0, -1, 99])),
}


@st.composite
def requests(draw: st.DrawFn, rpc: str) -> Any:
    """A request of one RPC."""
    return draw(_messages({**RPCS, **BIDIRECTIONAL}[rpc][0], _DEPTH))


@st.composite
def _messages(draw: st.DrawFn, message_class: Any, depth: int) -> Any:
    message = message_class()
    _fill(draw, message, depth)
    return message


def _fill(draw: st.DrawFn, message: Any, depth: int) -> None:
    descriptor = message.DESCRIPTOR
    if descriptor.full_name == "google.protobuf.Timestamp" and draw(st.integers(0, 7)):
        message.seconds = draw(st.integers(NOW - 2, NOW))
        return
    chosen = {
        oneof.name: draw(st.sampled_from([field.name for field in oneof.fields]))
        for oneof in descriptor.oneofs
        if draw(st.integers(0, 5))
    }
    for field in descriptor.fields:
        oneof = field.containing_oneof
        if oneof is not None and chosen.get(oneof.name) != field.name:
            continue
        if oneof is None and field.name not in _NEEDED and not draw(st.booleans()):
            continue
        if depth == 0 and field.message_type is not None:
            continue
        if field.name in ("transaction", "explain_options") and draw(st.integers(0, 7)):
            continue  # an unknown transaction ends every request
        _put(draw, message, field, depth)


def _put(draw: st.DrawFn, message: Any, field: Any, depth: int) -> None:
    slot = getattr(message, field.name)
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        for key in draw(
            st.lists(st.one_of(st.sampled_from(["n", "m", "l", "value", "__type__"]), _TEXTS), max_size=2)
        ):
            if not key:
                continue
            if entry.fields_by_name["value"].message_type is None:
                slot[key] = draw(_TEXTS)
            else:
                _fill(draw, slot[key], depth - 1)
    elif field.is_repeated:
        for _ in range(draw(_mostly(st.integers(int(field.name in _NEEDED), 1), st.integers(0, 3)))):
            if entry is None:
                slot.append(draw(_scalar(field)))
            else:
                _fill(draw, slot.add(), depth - 1)
    elif entry is not None:
        slot.SetInParent()
        _fill(draw, slot, depth - 1)
    else:
        setattr(message, field.name, draw(_scalar(field)))


def _scalar(field: Any) -> st.SearchStrategy[Any]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return st.binary(max_size=3)
        return _KNOWN.get(field.name, _TEXTS)
    return _SCALARS[field.cpp_type]
