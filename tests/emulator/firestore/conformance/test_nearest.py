"""find_nearest: `StructuredQuery.FindNearest` in google/firestore/v1/query.proto, and "search with vector embeddings"."""

from __future__ import annotations

import math
from typing import Any

from emulator.firestore import protos
from tests.emulator.firestore.conformance.calls import aggregate, contents, count, query, run, total
from tests.emulator.firestore.conformance.plain import Vector, value, vector
from tests.emulator.firestore.conformance.rows import Fails, Row, table
from tests.emulator.firestore.conformance.ways import Way

EUCLIDEAN, COSINE, DOT_PRODUCT = 1, 2, 3
GIVEN: dict[str, dict[str, Any]] = {
    "c/z": {"v": vector(1, 0), "k": 1},
    "c/y": {"v": vector(0, 1), "k": 2},
    "c/x": {"v": vector(2, 2), "k": 1},
    "c/r": {"v": vector(-1, -1)},
    "c/three": {"v": vector(1, 1, 1)},
    "c/array": {"v": [1.0, 1.0]},
    "c/map": {"v": {"value": [1.0, 1.0]}},
    "c/number": {"v": 1.0},
    "c/none": {"k": 1},
    "a/1/c/deep": {"v": vector(1, 1)},
}
ZERO = {"c/0": {"v": vector(0, 0)}}


def nearest(
    measure: int = EUCLIDEAN, limit: int | None = 10, of: Any = None, field: str = "v", **rest: Any
) -> Any:
    search = protos.StructuredQuery.FindNearest(
        vector_field={"field_path": field},
        query_vector=value(vector(1, 1) if of is None else of),
        distance_measure=measure,
        **rest,
    )
    if limit is not None:
        search.limit.value = limit
    return search


def finds(
    id: str, says: str, search: Any, expected: list[str], given: Any = None, where: Any = None, **rest: Any
) -> Row:
    return Row(
        id,
        says,
        [run(query(where, find_nearest=search, **rest))],
        expected,
        GIVEN if given is None else given,
    )


def refuses(
    id: str,
    says: str,
    search: Any,
    message: str,
    code: str = "INVALID_ARGUMENT",
    given: Any = None,
    **rest: Any,
) -> Row:
    return Row(id, says, [run(query(find_nearest=search, **rest))], Fails(code, message), given or {})


def at_most(threshold: float) -> dict[str, Any]:
    return {"distance_threshold": {"value": threshold}}


def distances(search: Any, given: Any = None) -> Any:
    """The query, showing the distances."""
    search.distance_result_field = "d"
    return contents(run(query(find_nearest=search))).showing(
        lambda responses: [r.document.fields["d"].double_value for r in responses if r.HasField("document")]
    )


TOO_MANY = "FindNearest.limit must be a positive integer of no more than 1000"

ROWS = [
    finds("euclidean", "the closest first; other dimensions and other values are left out", nearest(), ["y", "z", "x", "r"]),
    finds("cosine", "by the angle alone", nearest(COSINE), ["x", "y", "z", "r"]),
    finds("dot-product", "the greatest first", nearest(DOT_PRODUCT), ["x", "y", "z", "r"]),
    finds("limit", "the number of nearest neighbours", nearest(limit=2), ["y", "z"]),
    finds("dimension", "documents whose dimensionality matches", nearest(of=vector(1, 1, 1)), ["three"]),
    finds("filter", "filters come first", nearest(), ["z", "x"], where=("k", "==", 1)),
    finds("group", "in a collection group", nearest(limit=1), ["deep"], group=True),
    finds("nested-field", "a nested field", nearest(field="m.v"), ["a"], {"c/a": {"m": {"v": vector(1, 1)}}}),
    finds("threshold-euclidean", "distance <= threshold", nearest(**at_most(1.0)), ["y", "z"]),
    finds("threshold-cosine", "for COSINE as well", nearest(COSINE, **at_most(0.0)), ["x"]),
    finds("threshold-dot-product", "distance >= threshold for DOT_PRODUCT", nearest(DOT_PRODUCT, **at_most(1.0)), ["x", "y", "z"]),
    finds("threshold-0", "zero is a threshold", nearest(**at_most(0)), []),
    finds("nothing", "nothing is found where there are no vectors", nearest(field="none"), []),
    Row("superseded-order", "the ordering supersedes order_by", [run(query(None, "-k", find_nearest=nearest()))], ["y", "z", "x"], GIVEN),
    Row("ties", "at the same distance by name", [run(query(None, "k", find_nearest=nearest()))], ["y", "z", "x"], GIVEN),
    Row("distances-none-below", "nothing is closer than the same", [distances(nearest(COSINE, of=vector(*[0.1, 0.7, 0.7])))], [0.0], {"c/1": {"v": vector(*[0.6000000000000001, 4.199999999999999, 4.199999999999999])}}),
    Row("distances-large", "of large vectors too", [distances(nearest(COSINE, of=vector(3e200, 0)))], [0.0, 1.0], {"c/1": {"v": vector(5e250, 0)}, "c/2": {"v": vector(0, 1e250)}}),
    Row("distances-small", "and small ones", [distances(nearest(COSINE, of=vector(3e-200, 0)))], [0.0, 1.0], {"c/1": {"v": vector(5e-250, 0)}, "c/2": {"v": vector(0, 1e-250)}}),
    Row("distances-undefined", "what has no distance is left out", [distances(nearest(of=vector(math.inf, 0)))], [math.inf], {"c/1": {"v": vector(math.inf, 0)}, "c/2": {"v": vector(1, 1)}}),
    Row("distances-undefined-cosine", "an infinite vector has no angle", [distances(nearest(COSINE))], [0.0], {"c/1": {"v": vector(math.inf, 0)}, "c/2": {"v": vector(1, 1)}}),
    Row("distances-euclidean", "distance_result_field holds the distance", [distances(nearest())], [1.0, 1.0, math.sqrt(2), math.sqrt(8)], GIVEN),
    Row("distances-cosine", "of 0 to 2", [distances(nearest(COSINE, of=vector(1, 0)))], [0.0, 1.0 - 2 / math.sqrt(8), 1.0, 1.0 + 1 / math.sqrt(2)], GIVEN),
    Row("distances-dot-product", "of any size", [distances(nearest(DOT_PRODUCT))], [4.0, 1.0, 1.0, -2.0], GIVEN),
    Row("distances-exact", "what production gives", [distances(nearest(COSINE, of=vector(1, 2, 3)))], [0.017292370176009153], {"c/1": {"v": vector(3, 4, 5)}}),
    Row("distance-replaces", "which replaces a field of that name",
        [contents(run(query(find_nearest=nearest(limit=1, distance_result_field="k"))))], [["c/y", {"k": 1.0, "v": vector(0, 1)}]], GIVEN),
    Row("distance-no-path", "it is a field's name, no path",
        [contents(run(query(find_nearest=nearest(limit=1, distance_result_field="a.b"))))], [["c/y", {"a.b": 1.0, "k": 2, "v": vector(0, 1)}]], GIVEN),
    Row("distance-selected", "a field mask has to include it",
        [contents(run(query(select=["d"], find_nearest=nearest(limit=1, distance_result_field="d"))))], [["c/y", {"d": 1.0}]], GIVEN),
    Row("distance-not-selected", "or it is not returned",
        [contents(run(query(select=["k"], find_nearest=nearest(limit=1, distance_result_field="d"))))], [["c/y", {"k": 2}]], GIVEN),
    Row("stored-as-before", "nothing is stored", [run(query(find_nearest=nearest(distance_result_field="d"))), contents(run(query(("k", "==", 2))))],
        [["c/y", GIVEN["c/y"]]], GIVEN),
    Row("count", "aggregations see what is found", [aggregate(query(find_nearest=nearest(limit=3)), n=count(), s=total("k"))], {"n": 3, "s": 4}, GIVEN),
    Row("count-up-to", "of which they may want no more than some", [aggregate(query(find_nearest=nearest(limit=3)), n=count(2))], {"n": 2}, GIVEN),
    refuses("limit-0", "a positive integer", nearest(limit=0), TOO_MANY),
    refuses("limit-1001", "of no more than 1000", nearest(limit=1_001), TOO_MANY),
    refuses("limit-missing", "which is required", nearest(limit=None), TOO_MANY),
    finds("limit-1000", "1000 are allowed", nearest(limit=1_000, **at_most(1.0)), ["y", "z"]),
    refuses("no-measure", "DISTANCE_MEASURE_UNSPECIFIED should not be set", nearest(0), "Unknown Distance Measure."),
    refuses("no-vector", "a query vector", nearest(of=[1.0]), "Query Value must be of type vector."),
    refuses("unset-vector", "is required", nearest(of=protos.Value()), "type unset"),
    refuses("empty-vector", "of one dimension at least", nearest(of=vector()), "Cannot have a zero length vector."),
    refuses("vector-2049", "of no more than 2048", nearest(of=Vector((1.0,) * 2_049)), "Vectors must be at most 2048 dimensions."),
    refuses("no-field", "and a field", nearest(field=""), "Invalid empty property path string."),
    refuses("distance-reserved", "no reserved name", nearest(distance_result_field="__x__"), 'The distanceResultField.property.name "__x__" is reserved.'),
    refuses("threshold-nan", "a finite threshold", nearest(**at_most(math.nan)), "distanceThreshold must be a finite number."),
    refuses("query-limit", "no limit of the query's own", nearest(), "A query limit cannot be used with FindNearest", limit=1),
    refuses("query-offset", "no offset", nearest(), "A query offset cannot be used with FindNearest", offset=1),
    Row("query-cursor", "no cursor", [run(query(None, "k", start=[1], find_nearest=nearest()))], Fails("INVALID_ARGUMENT", "A cursor cannot be used with FindNearest")),
    finds("zero-euclidean", "a vector of zeros has a distance", nearest(), ["0"], ZERO),
    refuses("zero-cosine", "but no angle", nearest(COSINE), "Cannot compute cosine distance against a vector with a magnitude of zero.", "FAILED_PRECONDITION", ZERO),
    refuses("zero-cosine-query", "neither to one of zeros", nearest(COSINE, of=vector(0, 0)), "magnitude of zero", "FAILED_PRECONDITION", GIVEN),
]  # fmt: skip


@table(ROWS)
async def test_vector_searches_do_what_the_documentation_says(way: Way, row: Row) -> None:
    await row.check(way)
