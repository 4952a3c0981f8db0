"""Field transforms: what the server computes from what lies there."""

from __future__ import annotations

import math
from typing import Any

from grpc import StatusCode

from emulator.firestore import protos
from emulator.firestore.field_paths import get_field, parse_field, set_field
from emulator.firestore.values import is_number, sort_key
from emulator.status import Status

_MAX_INT, _MIN_INT = (1 << 63) - 1, -(1 << 63)
_REQUEST_TIME = protos.DocumentTransform.FieldTransform.ServerValue.REQUEST_TIME
_NULL = protos.Value(null_value=0)


def apply_transforms(fields: Any, transforms: Any, now_us: int) -> list[Any]:
    """Apply field transforms to a map of fields, in order; the result of each, as `transform_results` has it."""
    results = []
    for transform in transforms:
        path = parse_field(transform.field_path)
        after, result = _apply(transform, get_field(fields, path), now_us)
        set_field(fields, path, after)
        results.append(result)
    return results


def _apply(transform: Any, before: Any | None, now_us: int) -> tuple[Any, Any]:
    """The field's new value, and the result that is reported."""
    match transform.WhichOneof("transform_type"):
        case "set_to_server_value":
            if transform.set_to_server_value != _REQUEST_TIME:
                raise _invalid("The server value of a transform must be REQUEST_TIME.")
            seconds, millis = divmod(now_us // 1_000, 1_000)  # "with millisecond precision"
            value = protos.Value(timestamp_value=protos.Timestamp(seconds=seconds, nanos=millis * 1_000_000))
            return value, value
        case "increment":
            value = _increment(before, _number(transform.increment))
            return value, value
        case "maximum":
            value = _extreme(before, _number(transform.maximum), greatest=True)
            return value, value
        case "minimum":
            value = _extreme(before, _number(transform.minimum), greatest=False)
            return value, value
        case "append_missing_elements":
            return _append(before, transform.append_missing_elements), _NULL
        case "remove_all_from_array":
            return _remove(before, transform.remove_all_from_array), _NULL
    raise _invalid("A field transform must say what to do.")


def _number(operand: Any) -> Any:
    if not is_number(operand):
        raise _invalid("The operand of a numeric transform must be an integer or a double.")
    return operand


def _increment(before: Any | None, operand: Any) -> Any:
    if before is None or not is_number(before):
        return operand
    if "double_value" in (before.WhichOneof("value_type"), operand.WhichOneof("value_type")):
        return protos.Value(double_value=float(_numeric(before)) + float(_numeric(operand)))
    total = before.integer_value + operand.integer_value
    return protos.Value(integer_value=min(max(total, _MIN_INT), _MAX_INT))


def _extreme(before: Any | None, operand: Any, *, greatest: bool) -> Any:
    if before is None or not is_number(before):
        return operand
    old, new = sort_key(before), sort_key(operand)
    if _is_nan(before) or _is_nan(operand):
        keeps = _is_nan(before)
    else:
        keeps = old == new or (new > old) is not greatest  # of 3 and 3.0, the field keeps what it has
    # a copy: it is a result too, and what lies in the field may be changed by the next transform
    return _copy(before) if keeps else operand


def _append(before: Any | None, elements: Any) -> Any:
    result = protos.Value()
    result.array_value.SetInParent()
    if before is not None and before.WhichOneof("value_type") == "array_value":
        result.CopyFrom(before)
    present = {sort_key(element) for element in result.array_value.values}
    for element in elements.values:
        key = sort_key(element)
        if key not in present:
            present.add(key)
            result.array_value.values.append(element)
    return result


def _remove(before: Any | None, elements: Any) -> Any:
    result = protos.Value()
    result.array_value.SetInParent()
    if before is not None and before.WhichOneof("value_type") == "array_value":
        removed = {sort_key(element) for element in elements.values}
        kept = (element for element in before.array_value.values if sort_key(element) not in removed)
        result.array_value.values.extend(kept)
    return result


def _copy(value: Any) -> Any:
    copy = protos.Value()
    copy.CopyFrom(value)
    return copy


def _numeric(value: Any) -> int | float:
    number: int | float = getattr(value, value.WhichOneof("value_type"))
    return number


def _is_nan(value: Any) -> bool:
    return value.WhichOneof("value_type") == "double_value" and math.isnan(value.double_value)


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
