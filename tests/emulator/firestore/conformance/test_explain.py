"""Query Explain: google/firestore/v1/query_profile.proto; and what is not there."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict

from emulator.firestore import protos
from tests.emulator.firestore.conformance.calls import (
    DATABASE,
    NAME,
    Call,
    aggregate,
    average,
    count,
    query,
    run,
    total,
)
from tests.emulator.firestore.conformance.plain import Reference, value, vector
from tests.emulator.firestore.conformance.rows import Fails, Row, table
from tests.emulator.firestore.conformance.ways import Way

GIVEN: dict[str, dict[str, Any]] = {f"c/{n}": {"n": n, "half": n % 2, "v": vector(n, 1)} for n in range(8)}
PLAN, ANALYZE = {"explain_options": {"analyze": False}}, {"explain_options": {"analyze": True}}
NEAREST = protos.StructuredQuery.FindNearest(
    vector_field={"field_path": "v"}, query_vector=value(vector(1, 1)), distance_measure=1, limit={"value": 3}
)


def indexes(responses: list[Any]) -> list[str]:
    return [
        f"{one['query_scope']} {one['properties']}"
        for one in responses[-1].explain_metrics.plan_summary.indexes_used
    ]


def stats(responses: list[Any]) -> dict[str, Any]:
    found = MessageToDict(responses[-1].explain_metrics.execution_stats, preserving_proto_field_name=True)
    assert float(found.pop("execution_duration").rstrip("s")) > 0
    debug = found.pop("debug_stats")
    return {**found, **debug.pop("billing_details"), **debug}


def shape(responses: list[Any]) -> list[list[str]]:
    """The fields that each response has."""
    return [sorted(field.name for field, _ in one.ListFields()) for one in responses]


def plans(id: str, says: str, structured: Any, *expected: str) -> Row:
    return Row(id, says, [run(structured, **PLAN).showing(indexes)], list(expected))


def costs(results: int, reads: int, documents: int, entries: int, billed: int) -> dict[str, Any]:
    return {
        "results_returned": str(results), "read_operations": str(reads), "documents_scanned": str(documents), "index_entries_scanned": str(entries),
        "documents_billable": str(documents), "index_entries_billable": str(billed), "small_ops": "0", "min_query_cost": "0",
    }  # fmt: skip


def with_options(call: Call, options: Any) -> Call:
    request = protos.RunAggregationQueryRequest(**options)
    request.MergeFrom(call.request)
    return Call(call.rpc, request, call.show)


ROWS = [
    plans("name", "a collection by name", query(), "Collection (__name__ ASC)"),
    plans("one-field", "one field's own index", query(("n", ">", 1)), "Collection (n ASC, __name__ ASC)"),
    plans("falling", "in the query's direction", query(("n", ">", 1), "-n"), "Collection (n DESC, __name__ DESC)"),
    plans("equalities", "equalities merge the fields' own indexes", query(("and", ("a", "==", 1), ("b", "==", 1))),
          "Collection (a ASC, __name__ ASC)", "Collection (b ASC, __name__ ASC)"),
    plans("composite", "a composite index", query(("and", ("a", "==", 1), ("n", ">", 1))), "Collection (a ASC, n ASC, __name__ ASC)"),
    plans("contains", "an array's elements", query(("tags", "contains", 1), "n"), "Collection (tags CONTAINS, n ASC, __name__ ASC)"),
    plans("in", "IN asks one index several times", query(("n", "in", [1, 2, 3])), "Collection (n ASC, __name__ ASC)"),
    plans("or", "each part of an OR has its own", query(("or", ("a", "==", 1), ("b", "==", 1))), "Collection (a ASC, __name__ ASC)", "Collection (b ASC, __name__ ASC)"),
    plans("group", "a collection group", query(("n", "==", 1), group=True), "Collection group (n ASC, __name__ ASC)"),
    plans("by-name", "a name is in each of them", query((NAME, "==", Reference("c/1"))), "Collection (__name__ ASC)"),
    plans("quoted", "names are quoted", query(("`a b`", "==", 1)), "Collection (`a b` ASC, __name__ ASC)"),
    plans("nothing", "also for what cannot match", query(("n", "==", None)), "Collection (__name__ ASC)"),
    plans("vector", "a vector index", query(("half", "==", 1), find_nearest=NEAREST), "Collection (half ASC, __name__ ASC, v VECTOR<2>)"),
    Row("plan-only", "when false, the query will be planned, returning only metrics from the planning stages",
        [run(query(), **PLAN).showing(shape)], [["explain_metrics"]], GIVEN),
    Row("plan-no-stats", "execution_stats: only present when analyze is true",
        [run(query(), **PLAN).showing(lambda r: r[0].explain_metrics.HasField("execution_stats"))], False, GIVEN),
    Row("analyze", "when true, the full query results along with both metrics, with the last response",
        [run(query(limit=2), **ANALYZE).showing(shape)], [["document", "read_time"], ["document", "explain_metrics", "read_time"]], GIVEN),
    Row("analyze-results", "the results are those of the query", [run(query(("n", ">", 5)), **ANALYZE)], ["6", "7"], GIVEN),
    Row("analyze-plan", "with the plan", [run(query(("n", ">", 5)), **ANALYZE).showing(indexes)], ["Collection (n ASC, __name__ ASC)"], GIVEN),
    Row("stats", "what was returned, scanned and billed", [run(query(), **ANALYZE).showing(stats)], costs(8, 8, 8, 8, 0), GIVEN),
    Row("stats-range", "an index is read where it has to be", [run(query(("n", ">", 5)), **ANALYZE).showing(stats)], costs(2, 2, 2, 2, 0), GIVEN),
    Row("stats-offset", "documents that an offset skips are billed", [run(query(offset=3, limit=2), **ANALYZE).showing(stats)], costs(2, 5, 5, 5, 0), GIVEN),
    Row("stats-count", "a count reads an index", [with_options(aggregate(query(), n=count()), ANALYZE).showing(stats)], costs(1, 1, 0, 8, 8), GIVEN),
    Row("stats-up-to", "as far as it has to", [with_options(aggregate(query(), n=count(3)), ANALYZE).showing(stats)], costs(1, 1, 0, 3, 3), GIVEN),
    Row("stats-vector", "a vector search reads one for each hundred entries", [run(query(find_nearest=NEAREST), **ANALYZE).showing(stats)], costs(3, 4, 3, 8, 8), GIVEN),
    Row("count-plan", "aggregations too: planned only", [with_options(aggregate(query(), n=count()), PLAN).showing(shape)], [["explain_metrics"]], GIVEN),
    Row("count-analyze", "or with their result", [with_options(aggregate(query(), n=count()), ANALYZE).showing(shape)], [["explain_metrics", "read_time", "result"]], GIVEN),
    Row("count-result", "which is the same", [with_options(aggregate(query(), n=count(), s=total("n")), ANALYZE)], {"n": 8, "s": 28}, GIVEN),
    Row("sum-plan", "what is aggregated is in the index", [
        with_options(aggregate(query(("half", "==", 1)), s=total("n"), m=average("n")), PLAN).showing(indexes)], ["Collection (half ASC, n ASC, __name__ ASC)"]),
    Row("not-asked", "only if it is asked for", [run(query(limit=1)).showing(shape)], [["document", "read_time"]], GIVEN),
    Row("malformed", "a malformed query has no plan", [run(query(limit=-1), **PLAN)], Fails("INVALID_ARGUMENT", "limit is negative")),
    Row("transaction-plan", "planning begins no transaction", [
        run(query(), new_transaction=protos.TransactionOptions(), **PLAN).showing(shape)], [["explain_metrics"]]),
    Row("pipeline", "pipelines need Enterprise edition", [Call("ExecutePipeline", protos.ExecutePipelineRequest(database=DATABASE))],
        Fails("UNIMPLEMENTED", "Pipeline operations are only available for Firestore databases in Enterprise edition")),
]  # fmt: skip


@table(ROWS)
async def test_explanations_are_what_the_documentation_says(way: Way, row: Row) -> None:
    await row.check(way)
