"""Between a state (a dataclass, a pydantic model or a dict) and the fields of its document: no I/O.

The fields that a state's type does not know are none of its business: they are never read, and a write's mask leaves
them out, at any depth that is made of dataclasses and models. What lies inside a dict or a list belongs to the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields as dataclass_fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Generic, TypeVar
from uuid import UUID

from google.cloud.firestore_v1 import _helpers
from google.cloud.firestore_v1.field_path import FieldPath
from pydantic import AliasChoices, BaseModel, TypeAdapter
from pydantic_core import to_jsonable_python

from dsset import protos
from dsset.encoded_writes import field_entries, plain_entry

S = TypeVar("S")

RESERVED_PREFIX = "eventbox_"

_AS_TEXT = (date, time, timedelta, Decimal, UUID, PurePath)
_PLAIN_KINDS = frozenset({"boolean_value", "integer_value", "double_value", "string_value", "bytes_value"})
_AS_IT_IS = frozenset({type(None), bool, int, float, str, bytes})


@dataclass(frozen=True, slots=True)
class Encoded:
    """A state as it would be written: its fields, and the mask of what is written at all.

    Two states are the same if their `entries` are: to the last bit, so that 0 and 0.0 differ and NaN does not.
    """

    entries: bytes  # its fields, as they are encoded in a document
    mask: frozenset[tuple[str, ...]]
    paths: tuple[str, ...] | None = None  # the mask quoted, where its type tells that for good

    def mask_paths(self, before: Encoded | None) -> Sequence[str]:
        """The field paths to write, quoted; those that `before` had and this one has not are deleted."""
        if self.paths is not None and (before is None or before.mask is self.mask):
            return self.paths
        return _quoted(self.mask if before is None else self.mask | before.mask)


def _quoted(paths: frozenset[tuple[str, ...]]) -> tuple[str, ...]:
    # of a path and one below it, only the upper one: a whole value replaces what lies below
    kept = [path for path in paths if not any(path[:n] in paths for n in range(1, len(path)))]
    return tuple(sorted(FieldPath(*path).to_api_repr() for path in kept))


@lru_cache(maxsize=256)
def _adapter(state_type: type[Any]) -> TypeAdapter[Any]:
    """Made once for each type: it takes a millisecond for a dataclass, and a worker makes a processor for each run."""
    return TypeAdapter(state_type)


class StateCodec(Generic[S]):
    """Encodes and decodes states of one type.

    Raises:
        TypeError: the type is none of those that a state may have.
    """

    def __init__(self, state_type: type[S]) -> None:
        self._type = state_type
        self._adapter: TypeAdapter[S] | None = None
        if not isinstance(state_type, type):
            raise TypeError(f"state_type must be a class, not {state_type!r}")
        self._is_dataclass = is_dataclass(state_type)
        if is_dataclass(state_type):
            lost = [field.name for field in dataclass_fields(state_type) if not field.init]
            if lost:
                raise TypeError(
                    f"the fields {', '.join(lost)} of {state_type.__name__} have init=False: they could be saved but "
                    "never be loaded; make them properties, or parameters with a default"
                )
            self._adapter = _adapter(state_type)
        elif issubclass(state_type, BaseModel):
            self._adapter = _adapter(state_type)
        elif not issubclass(state_type, dict):
            raise TypeError(
                f"a state must be a dataclass, a pydantic model or a dict, but {state_type.__name__} is none of them"
            )

    def decode(self, document: Any, client: Any) -> S:
        """The state in a document.

        Raises:
            pydantic.ValidationError: the document's fields do not fit the type.
        """
        fields = document.fields
        data = {
            name: _decoded(fields[name], client) for name in fields if not name.startswith(RESERVED_PREFIX)
        }
        if self._adapter is None:
            return self._type(data)  # type: ignore[call-arg]
        return self._adapter.validate_python(data, by_alias=True, by_name=True)

    def encode(self, state: S) -> Encoded:
        """What would be written for the state.

        Raises:
            TypeError: it is of another type, or holds what Firestore cannot store.
            ValueError: a field's name is reserved.
        """
        if not isinstance(state, self._type):
            raise TypeError(
                f"expected a state of type {self._type.__name__}, not {type(state).__name__}: {state!r:.100}"
            )
        if self._is_dataclass:
            return _encode_fields(state)
        plain = _plain(state, typed=self._adapter is not None)
        _check_names(plain)
        encoded = {key: _value(value) for key, value in plain.items()}
        return Encoded(field_entries(encoded), frozenset(_mask(state)))


def _encode_fields(state: Any) -> Encoded:
    """A dataclass, field by field: most hold plain values, of which protobuf would take several times as long."""
    kind: Any = type(state)
    mask, paths = _flat_mask(kind)
    entries = []
    is_flat = True
    for name in _field_names(kind):
        value = getattr(state, name)
        entry = plain_entry(name, value)
        if entry is None:
            is_flat = False
            entry = field_entries({name: _value(_plain(value, typed=True))})
        entries.append(entry)
    if is_flat:
        return Encoded(b"".join(entries), mask, paths)
    return Encoded(b"".join(entries), frozenset(_mask(state)))


def _decoded(value: Any, client: Any) -> Any:
    """What google's client makes of a Value, at a fraction of what that takes for common types."""
    kind = value.WhichOneof("value_type")
    if kind in _PLAIN_KINDS:
        return getattr(value, kind)
    return _helpers.decode_value(value, client)


def _value(plain: Any) -> Any:
    """The Value of a plain value: as google's client encodes it, at a fraction of what that takes for common types."""
    kind = type(plain)
    if kind is str:
        return protos.Value(string_value=plain)
    if kind is int:
        return protos.Value(integer_value=plain)
    if kind is dict:
        return protos.Value(
            map_value=protos.MapValue(fields={key: _value(value) for key, value in plain.items()})
        )
    if kind is list:
        return protos.Value(array_value=protos.ArrayValue(values=[_value(value) for value in plain]))
    if kind is float:
        return protos.Value(double_value=plain)
    if kind is bool:
        return protos.Value(boolean_value=plain)
    if kind is bytes:
        return protos.Value(bytes_value=plain)
    return _helpers.encode_value(plain)._pb


@lru_cache(maxsize=256)
def _field_names(state_type: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclass_fields(state_type))


@lru_cache(maxsize=256)
def _flat_mask(state_type: Any) -> tuple[frozenset[tuple[str, ...]], tuple[str, ...]]:
    """What `_mask` gives where no field is made of others, and the same quoted."""
    names = _field_names(state_type)
    _check_names(names)
    mask = frozenset((name,) for name in names)
    return mask, _quoted(mask)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name.startswith(RESERVED_PREFIX):
            raise ValueError(
                f"the field {name!r} is eventbox's own: a state's may not begin with {RESERVED_PREFIX!r}"
            )


def _plain(value: Any, *, typed: bool) -> Any:
    """The value in terms that google's client can encode.

    With `typed`, there is a type to read it back by, so what Firestore has no value for becomes text as in JSON: dates,
    times, durations, UUIDs, decimals, paths, and keys that are no strings.
    """
    if type(value) in _AS_IT_IS:
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name), typed=typed) for name in _field_names(type(value))}
    if isinstance(value, BaseModel):
        return {key: _plain(inner, typed=typed) for key, inner in _model_items(value)}
    if isinstance(value, Enum):
        return _plain(value.value, typed=typed)
    if isinstance(value, dict):
        return {_key(key, typed=typed): _plain(item, typed=typed) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, typed=typed) for item in value]
    if isinstance(value, set | frozenset):
        # sorted where that is possible, so that an equal set is written the same
        items = [_plain(item, typed=typed) for item in value]
        try:
            return sorted(items)
        except TypeError:
            return sorted(items, key=repr)
    if typed and isinstance(value, _AS_TEXT) and not isinstance(value, datetime):
        return str(value) if isinstance(value, PurePath) else to_jsonable_python(value)
    return value


def _key(key: Any, *, typed: bool) -> Any:
    if typed and not isinstance(key, str):
        return str(to_jsonable_python(key))
    plain = key.value if isinstance(key, Enum) else key
    if not isinstance(plain, str):
        raise TypeError(
            f"the keys of a state must be str, those of dicts in it too, not {type(key).__name__}: {key!r:.100}"
        )
    return plain


def _mask(value: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths that a state owns: down through dataclasses and models, not into dicts and lists."""
    if is_dataclass(value) and not isinstance(value, type):
        inner = [(name, getattr(value, name)) for name in _field_names(type(value))]
    elif isinstance(value, BaseModel):
        inner = list(_model_items(value))
    elif isinstance(value, dict) and not prefix:
        yield from ((key,) for key in value)
        return
    else:
        inner = []
    if not inner and prefix:
        yield prefix
    for name, item in inner:
        if type(item) in _AS_IT_IS:
            yield (*prefix, name)
        else:
            yield from _mask(item, (*prefix, name))


def _model_items(model: BaseModel) -> Iterator[tuple[str, Any]]:
    """A model's fields under the names that it reads them by, and what it allows besides."""
    for name, field in type(model).model_fields.items():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices):
            alias = next((choice for choice in alias.choices if isinstance(choice, str)), name)
        yield alias if isinstance(alias, str) else name, getattr(model, name)
    yield from (model.model_extra or {}).items()
