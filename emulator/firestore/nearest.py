"""find_nearest: the documents whose vectors lie closest to one, by a scan of all that the query's filters let through.

Production answers it by an approximate index; here the answer is exact.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any

from grpc import StatusCode

from emulator.firestore import protos
from emulator.firestore.field_paths import Path, get_field, parse_field
from emulator.firestore.limits import check_vector
from emulator.firestore.names import RESERVED
from emulator.firestore.values import name_key, vector_of
from emulator.firestore.versions import Version, new_version
from emulator.status import Status

MAX_NEIGHBOURS = 1_000

_MAX_FIELD_NAME_BYTES = 1_500
_Measure = protos.StructuredQuery.FindNearest.DistanceMeasure
Distance = Callable[[Sequence[float], Sequence[float]], float]


@dataclass(frozen=True, slots=True)
class Nearest:
    """A compiled find_nearest.

    Attributes:
        path: the field that holds the vectors.
        vector: what they are compared with; vectors of other dimensions are left out.
        measure: one of the `DistanceMeasure`s.
        limit: how many documents are found at most.
        result_field: the name (no path) of the field that tells each document's distance; None: nothing tells.
        threshold: the greatest distance, or with DOT_PRODUCT the least; None: any.
    """

    path: Path
    vector: tuple[float, ...]
    measure: int
    limit: int
    result_field: str | None
    threshold: float | None

    def ranked(self, documents: Iterable[Version]) -> list[Version]:
        """The closest documents, closest first, those at the same distance by name; each with its distance.

        Raises:
            Status: FAILED_PRECONDITION where the COSINE distance of a vector of zeros is asked for.
        """
        distance = _DISTANCES[self.measure]
        found: list[tuple[float, bytes, float, Version]] = []
        for document in documents:
            value = get_field(document.message.fields, self.path)
            vector = None if value is None else vector_of(value)
            document.forget()
            if vector is None or len(vector) != len(self.vector):
                continue
            apart = distance(vector, self.vector)
            rank = -apart if self.measure == _Measure.DOT_PRODUCT else apart
            if not math.isnan(apart) and not self._is_beyond(apart):
                found.append((rank, name_key(document.name), apart, document))
        found.sort(key=lambda one: one[:2])
        return [self._with_distance(document, apart) for _, _, apart, document in found[: self.limit]]

    def _is_beyond(self, apart: float) -> bool:
        if self.threshold is None:
            return False
        return apart < self.threshold if self.measure == _Measure.DOT_PRODUCT else apart > self.threshold

    def _with_distance(self, document: Version, apart: float) -> Version:
        if self.result_field is None:
            return document
        copy = protos.Document(name=document.name)
        for name, value in document.message.fields.items():
            copy.fields[name].CopyFrom(value)
        document.forget()
        copy.fields[self.result_field].CopyFrom(protos.Value(double_value=apart))
        body = copy.SerializeToString(deterministic=True)
        return new_version(document.name, body, document.created_us, document.time_us)


def compile_nearest(proto: Any) -> Nearest:
    """The search; INVALID_ARGUMENT where it is malformed or asks for more than production gives."""
    path = parse_field(proto.vector_field.field_path)
    if proto.query_vector.WhichOneof("value_type") is None:
        raise _invalid("Cannot convert firestore.v1.Value with type unset.")
    if "__type__" not in proto.query_vector.map_value.fields:
        raise _invalid("Query Value must be of type vector.")
    check_vector(proto.query_vector.map_value.fields)
    vector = vector_of(proto.query_vector)
    assert vector is not None
    if proto.distance_measure not in _DISTANCES:
        raise _invalid("Unknown Distance Measure.")
    limit = proto.limit.value if proto.HasField("limit") else 0
    if not 1 <= limit <= MAX_NEIGHBOURS:
        raise _invalid(f"FindNearest.limit must be a positive integer of no more than {MAX_NEIGHBOURS}")
    threshold = proto.distance_threshold.value if proto.HasField("distance_threshold") else None
    if threshold is not None and not math.isfinite(threshold):
        raise _invalid("distanceThreshold must be a finite number.")
    return Nearest(
        path,
        tuple(vector),
        proto.distance_measure,
        limit,
        _result_field(proto.distance_result_field),
        threshold,
    )


def _result_field(name: str) -> str | None:
    if RESERVED.fullmatch(name):
        raise _invalid(f'The distanceResultField.property.name "{name}" is reserved.')
    if len(name.encode()) > _MAX_FIELD_NAME_BYTES:
        raise _invalid(f"The distanceResultField.property.name is longer than {_MAX_FIELD_NAME_BYTES} bytes.")
    return name or None


def _dot_product(left: Sequence[float], right: Sequence[float]) -> float:
    return float(sum(map(mul, left, right)))


def _cosine(left: Sequence[float], right: Sequence[float]) -> float:
    # one root of both squares, which is exact where they are: parallel vectors have no distance
    squares = _dot_product(left, left) * _dot_product(right, right)
    if not sys.float_info.min < squares < math.inf:
        left, right = _scaled(left), _scaled(right)
        squares = _dot_product(left, left) * _dot_product(right, right)
    apart = 1.0 - _dot_product(left, right) / math.sqrt(squares)
    return 0.0 if apart < 0.0 else apart  # rounding must not make anything closer than the same


def _scaled(vector: Sequence[float]) -> Sequence[float]:
    """The vector of the same direction whose greatest component is 1."""
    greatest = max(map(abs, vector))
    if not greatest:
        raise Status(
            StatusCode.FAILED_PRECONDITION,
            "Cannot compute cosine distance against a vector with a magnitude of zero.",
        )
    return [component / greatest for component in vector]


_DISTANCES: dict[int, Distance] = {
    _Measure.EUCLIDEAN: math.dist,
    _Measure.COSINE: _cosine,
    _Measure.DOT_PRODUCT: _dot_product,
}


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
