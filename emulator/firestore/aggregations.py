"""count, sum and average over the documents that a query found."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grpc import StatusCode

from emulator.firestore import protos
from emulator.firestore.field_paths import DOCUMENT_ID, Path, get_field, parse_field_path
from emulator.firestore.values import is_number
from emulator.firestore.versions import Version
from emulator.status import Status

MAX_AGGREGATIONS = 5

_MAX_INT, _MIN_INT = (1 << 63) - 1, -(1 << 63)
_MAX_ALIAS_BYTES = 1_500
_RESERVED = re.compile(r"__.*__", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Aggregation:
    """One of a query's aggregations: "count", "sum" or "avg".

    `path` is the field of a sum or an average; `up_to` is where a count stops.
    """

    alias: str
    operator: str
    path: Path | None = None
    up_to: int | None = None


@dataclass(frozen=True, slots=True)
class Aggregations:
    """All aggregations of a query, which see the same documents: those that have every field that is aggregated."""

    parts: tuple[Aggregation, ...]

    @property
    def paths(self) -> list[Path]:
        """The fields that a document needs to have, or no aggregation counts it."""
        return [part.path for part in self.parts if part.path is not None]

    @property
    def enough(self) -> int | None:
        """How many documents decide the result; None: all do."""
        bounds = [part.up_to for part in self.parts]
        return None if None in bounds else max(bound for bound in bounds if bound is not None)

    def result(self, documents: Sequence[Version]) -> Any:
        """The AggregationResult."""
        result = protos.AggregationResult()
        numbers = self._numbers(documents)
        for part in self.parts:
            result.aggregate_fields[part.alias].CopyFrom(_value(part, len(documents), numbers))
        return result

    def _numbers(self, documents: Sequence[Version]) -> dict[Path, list[int | float]]:
        numbers: dict[Path, list[int | float]] = {path: [] for path in self.paths}
        if numbers:
            for document in documents:
                for path, found in numbers.items():
                    value = get_field(document.message.fields, path)
                    if value is not None and is_number(value):
                        found.append(getattr(value, value.WhichOneof("value_type")))
                document.forget()
        return numbers


def compile_aggregations(protos_given: Sequence[Any]) -> Aggregations:
    """The aggregations; INVALID_ARGUMENT where one is malformed, or there are none, or too many."""
    if not protos_given:
        raise _invalid("Aggregations can not be empty.")
    if len(protos_given) > MAX_AGGREGATIONS:
        raise _invalid(
            f"The maximum number of aggregations allowed in an aggregation query is {MAX_AGGREGATIONS}. "
            f"Received: {len(protos_given)}"
        )
    parts: list[Aggregation] = []
    unnamed = 0
    for given in protos_given:
        if not given.alias:
            unnamed += 1
        part = _compile(given, given.alias or f"field_{unnamed}")
        if any(other.alias == part.alias for other in parts):
            raise _invalid(f"Aggregation aliases contain duplicate alias: {part.alias}.")
        parts.append(part)
    return Aggregations(tuple(parts))


def _compile(given: Any, alias: str) -> Aggregation:
    if len(alias.encode()) > _MAX_ALIAS_BYTES:
        raise _invalid(f"The property.name is longer than {_MAX_ALIAS_BYTES} bytes.")
    if _RESERVED.fullmatch(alias):
        raise _invalid(f'The property.name "{alias}" is reserved.')
    match given.WhichOneof("operator"):
        case "count":
            up_to = given.count.up_to.value if given.count.HasField("up_to") else None
            if up_to is not None and up_to <= 0:
                raise _invalid("The `up_to` value in a COUNT aggregation must be greater than zero.")
            return Aggregation(alias, "count", up_to=up_to)
        case "sum":
            return Aggregation(alias, "sum", _field(given.sum))
        case "avg":
            return Aggregation(alias, "avg", _field(given.avg))
    raise _invalid("Operator field in Aggregation is not set.")


def _field(operator: Any) -> Path:
    path = parse_field_path(operator.field.field_path)
    if path == (DOCUMENT_ID,):
        raise _invalid("Aggregations are not supported for the property: __key__")
    return path


def _value(part: Aggregation, count: int, numbers: dict[Path, list[int | float]]) -> Any:
    if part.path is None:
        return protos.Value(integer_value=count if part.up_to is None else min(count, part.up_to))
    found = numbers[part.path]
    if part.operator == "sum":
        return _sum(found)
    if not found:
        return protos.Value(null_value=0)
    return protos.Value(double_value=_float_sum(found) / len(found))


def _sum(numbers: list[int | float]) -> Any:
    if any(isinstance(number, float) for number in numbers):
        return protos.Value(double_value=_float_sum(numbers))
    total = sum(numbers)
    if not _MIN_INT <= total <= _MAX_INT:
        return protos.Value(double_value=float(total))
    return protos.Value(integer_value=int(total))


def _float_sum(numbers: list[int | float]) -> float:
    try:
        return math.fsum(numbers) + 0.0  # a sum of negative zeros is zero
    except (OverflowError, ValueError):  # beyond the greatest double, or infinities of both signs
        return float(sum(map(float, numbers)))


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
