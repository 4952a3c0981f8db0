"""count, sum and average over the documents that a query found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from grpc import StatusCode

from emulator.firestore import protos
from emulator.firestore.field_paths import Path, get_field, parse_field_path
from emulator.firestore.status import Status
from emulator.firestore.values import is_number
from emulator.firestore.versions import Version

_MAX_INT, _MIN_INT = (1 << 63) - 1, -(1 << 63)
_MAX_AGGREGATIONS = 5


def aggregate(aggregations: Any, documents: Sequence[Version]) -> Any:
    """The AggregationResult; INVALID_ARGUMENT where an aggregation is malformed."""
    if not 1 <= len(aggregations) <= _MAX_AGGREGATIONS:
        raise Status(
            StatusCode.INVALID_ARGUMENT, f"An aggregation query takes 1 to {_MAX_AGGREGATIONS} aggregations."
        )
    result = protos.AggregationResult()
    unnamed = 0
    for aggregation in aggregations:
        alias = aggregation.alias
        if not alias:
            unnamed += 1
            alias = f"field_{unnamed}"
        if alias in result.aggregate_fields:
            raise Status(StatusCode.INVALID_ARGUMENT, f"The alias {alias!r} is used twice.")
        result.aggregate_fields[alias].CopyFrom(_value(aggregation, documents))
    for document in documents:
        document.forget()
    return result


def _value(aggregation: Any, documents: Sequence[Version]) -> Any:
    match aggregation.WhichOneof("operator"):
        case "count":
            count = len(documents)
            if aggregation.count.HasField("up_to"):
                if aggregation.count.up_to.value <= 0:
                    raise Status(StatusCode.INVALID_ARGUMENT, "up_to must be greater than zero.")
                count = min(count, aggregation.count.up_to.value)
            return protos.Value(integer_value=count)
        case "sum":
            return _sum(_numbers(documents, parse_field_path(aggregation.sum.field.field_path)))
        case "avg":
            numbers = _numbers(documents, parse_field_path(aggregation.avg.field.field_path))
            if not numbers:
                return protos.Value(null_value=0)
            return protos.Value(double_value=_float_sum(numbers) / len(numbers))
    raise Status(StatusCode.INVALID_ARGUMENT, "An aggregation must be one of count, sum and avg.")


def _numbers(documents: Sequence[Version], path: Path) -> list[int | float]:
    values = (get_field(document.message.fields, path) for document in documents)
    return [
        getattr(value, value.WhichOneof("value_type"))
        for value in values
        if value is not None and is_number(value)
    ]


def _sum(numbers: list[int | float]) -> Any:
    if any(isinstance(number, float) for number in numbers):
        return protos.Value(double_value=_float_sum(numbers))
    total = sum(numbers)
    if not _MIN_INT <= total <= _MAX_INT:
        return protos.Value(double_value=float(total))
    return protos.Value(integer_value=int(total))


def _float_sum(numbers: list[int | float]) -> float:
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):  # beyond the greatest double, or infinities of both signs
        return float(sum(map(float, numbers)))
