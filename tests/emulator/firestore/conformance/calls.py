"""RPCs as a table writes them: what is asked, and what of the answer is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from emulator.firestore import protos
from tests.emulator.firestore.conformance.plain import (
    ROOT,
    fields,
    name_of,
    path_of,
    plain,
    plain_fields,
    value,
)

DATABASE = ROOT.removesuffix("/documents")
NAME = "__name__"

_Query = protos.StructuredQuery
_OPERATORS = {
    "==": "EQUAL",
    "!=": "NOT_EQUAL",
    "<": "LESS_THAN",
    "<=": "LESS_THAN_OR_EQUAL",
    ">": "GREATER_THAN",
    ">=": "GREATER_THAN_OR_EQUAL",
    "contains": "ARRAY_CONTAINS",
    "contains any": "ARRAY_CONTAINS_ANY",
    "in": "IN",
    "not in": "NOT_IN",
}


@dataclass(frozen=True)
class Call:
    """One RPC.

    `request` may depend on the responses to the calls before, each a list of messages. `show` makes what a table
    expects of the responses.
    """

    rpc: str
    request: Any
    show: Callable[[list[Any]], Any] = lambda responses: None

    def showing(self, show: Callable[[list[Any]], Any]) -> Call:
        return replace(self, show=show)


# Writes ---------------------------------------------------------------------------------------------------------


def put(path: str, content: dict[str, Any], mask: list[str] | None = None, **rest: Any) -> Any:
    """A write that replaces a document, or the fields that the mask names."""
    write = protos.Write(update=document(path, content), **rest)
    if mask is not None:
        write.update_mask.SetInParent()
        write.update_mask.field_paths.extend(mask)
    return write


def document(path: str, content: dict[str, Any]) -> Any:
    return protos.Document(name=name_of(path), fields=fields(content))


def transform(path: str, **operations: Any) -> Any:
    """A write that transforms fields of a document: `transform("a/1", n=increment(1))`."""
    write = protos.Write()
    write.transform.document = name_of(path)
    for field, operation in operations.items():
        write.transform.field_transforms.add(field_path=field.replace("__", "."), **operation)
    return write


def increment(by: Any) -> dict[str, Any]:
    return {"increment": value(by)}


def maximum(of: Any) -> dict[str, Any]:
    return {"maximum": value(of)}


def minimum(of: Any) -> dict[str, Any]:
    return {"minimum": value(of)}


def union(*elements: Any) -> dict[str, Any]:
    return {"append_missing_elements": protos.ArrayValue(values=map(value, elements))}


def remove(*elements: Any) -> dict[str, Any]:
    return {"remove_all_from_array": protos.ArrayValue(values=map(value, elements))}


SERVER_TIME = {"set_to_server_value": 1}


def delete(path: str, **rest: Any) -> Any:
    return protos.Write(delete=name_of(path), **rest)


def exists(there: bool) -> Any:
    return protos.Precondition(exists=there)


def commit(*writes: Any, transaction: bytes = b"") -> Call:
    """Shows the transforms' results of all writes."""
    request = protos.CommitRequest(database=DATABASE, writes=writes, transaction=transaction)
    return Call(
        "Commit", request, lambda r: [plain(one) for w in r[0].write_results for one in w.transform_results]
    )


def batch_write(*writes: Any) -> Call:
    """Shows the status code of each write."""
    request = protos.BatchWriteRequest(database=DATABASE, writes=writes)
    return Call("BatchWrite", request, lambda r: [status.code for status in r[0].status])


def create(parent: str, collection_id: str, document_id: str, content: dict[str, Any]) -> Call:
    request = protos.CreateDocumentRequest(
        parent=name_of(parent),
        collection_id=collection_id,
        document_id=document_id,
        document=protos.Document(fields=fields(content)),
    )
    return Call("CreateDocument", request, lambda r: {path_of(r[0].name): plain_fields(r[0].fields)})


# Reads ----------------------------------------------------------------------------------------------------------


def get(path: str, mask: list[str] | None = None, **rest: Any) -> Call:
    """Shows the document's fields."""
    request = protos.GetDocumentRequest(name=name_of(path), **rest)
    if mask is not None:
        request.mask.SetInParent()
        request.mask.field_paths.extend(mask)
    return Call("GetDocument", request, lambda r: plain_fields(r[0].fields))


def batch_get(*paths: str, **rest: Any) -> Call:
    """Shows the fields of each document, None for those that are missing, in the order of the answers."""
    request = protos.BatchGetDocumentsRequest(database=DATABASE, documents=map(name_of, paths), **rest)

    def show(responses: list[Any]) -> Any:
        return [
            [path_of(r.found.name), plain_fields(r.found.fields)]
            if r.HasField("found")
            else [path_of(r.missing), None]
            for r in responses
            if r.WhichOneof("result")
        ]

    return Call("BatchGetDocuments", request, show)


def list_documents(collection_id: str, parent: str = "", **rest: Any) -> Call:
    """Shows the IDs of a page."""
    request = protos.ListDocumentsRequest(parent=name_of(parent), collection_id=collection_id, **rest)
    return Call("ListDocuments", request, lambda r: [one.name.rpartition("/")[2] for one in r[0].documents])


def list_collection_ids(parent: str = "", **rest: Any) -> Call:
    request = protos.ListCollectionIdsRequest(parent=name_of(parent), **rest)
    return Call("ListCollectionIds", request, lambda r: list(r[0].collection_ids))


# Queries --------------------------------------------------------------------------------------------------------


def query(
    where: Any = None,
    *orders: str,
    of: str | None = "c",
    group: bool = False,
    start: Any = None,
    end: Any = None,
    select: list[str] | None = None,
    limit: int | None = None,
    **rest: Any,
) -> Any:
    """A StructuredQuery.

    `where` is (field, operator, value), or ("and" or "or", filter, ...), or (field, "is null") and the like; `-a`
    orders by a, falling; a cursor is [values] (before what has them) or ([values], "behind").
    """
    structured = _Query(**rest)
    if of is not None:
        structured.from_.add(collection_id=of, all_descendants=group)
    if where is not None:
        structured.where.CopyFrom(condition(where))
    for order in orders:
        structured.order_by.add(direction=2 if order[0] == "-" else 1).field.field_path = order.lstrip("-")
    for field, cursor in (("start_at", start), ("end_at", end)):
        if cursor is not None:
            values, before = (cursor[0], False) if isinstance(cursor, tuple) else (cursor, True)
            getattr(structured, field).CopyFrom(protos.Cursor(values=map(value, values), before=before))
    if select is not None:
        structured.select.SetInParent()
        for field in select:
            structured.select.fields.add(field_path=field)
    if limit is not None:
        structured.limit.value = limit
    return structured


def condition(where: Any) -> Any:
    result = _Query.Filter()
    if where[0] in ("and", "or"):
        result.composite_filter.op = _Query.CompositeFilter.Operator.Value(where[0].upper())
        result.composite_filter.filters.extend(map(condition, where[1:]))
    elif len(where) == 2:
        result.unary_filter.field.field_path = where[0]
        result.unary_filter.op = _Query.UnaryFilter.Operator.Value(where[1].upper().replace(" ", "_"))
    else:
        result.field_filter.field.field_path = where[0]
        result.field_filter.op = _Query.FieldFilter.Operator.Value(_OPERATORS[where[1]])
        result.field_filter.value.CopyFrom(value(where[2]))
    return result


def run(structured: Any, parent: str = "", **rest: Any) -> Call:
    """Shows the IDs of the documents."""
    request = protos.RunQueryRequest(parent=name_of(parent), structured_query=structured, **rest)
    return Call("RunQuery", request, lambda r: [one.rpartition("/")[2] for one, _ in found(r)])


def contents(call: Call) -> Call:
    """The query, showing each document's path and fields."""
    return call.showing(lambda responses: [[path_of(name), content] for name, content in found(responses)])


def found(responses: list[Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(r.document.name, plain_fields(r.document.fields)) for r in responses if r.HasField("document")]


def aggregate(structured: Any, parent: str = "", **aggregations: Any) -> Call:
    """Shows the results by alias: `aggregate(query(), n=count(), s=total("x"))`."""
    request = protos.RunAggregationQueryRequest(parent=name_of(parent))
    request.structured_aggregation_query.structured_query.CopyFrom(structured)
    for alias, aggregation in aggregations.items():
        added = request.structured_aggregation_query.aggregations.add(**aggregation)
        if not alias.startswith("unnamed"):
            added.alias = alias
    return Call("RunAggregationQuery", request, lambda r: plain_fields(r[0].result.aggregate_fields))


def count(up_to: int | None = None) -> dict[str, Any]:
    return {"count": {} if up_to is None else {"up_to": {"value": up_to}}}


def total(field: str) -> dict[str, Any]:
    return {"sum": {"field": {"field_path": field}}}


def average(field: str) -> dict[str, Any]:
    return {"avg": {"field": {"field_path": field}}}


def partition(structured: Any, partition_count: int, parent: str = "", **rest: Any) -> Call:
    """Shows the paths at which to split."""
    request = protos.PartitionQueryRequest(
        parent=name_of(parent), structured_query=structured, partition_count=partition_count, **rest
    )
    return Call(
        "PartitionQuery",
        request,
        lambda r: [path_of(one.values[0].reference_value) for one in r[0].partitions],
    )


# Transactions ---------------------------------------------------------------------------------------------------


def begin(**mode: Any) -> Call:
    options = protos.TransactionOptions(**mode)
    return Call("BeginTransaction", protos.BeginTransactionRequest(database=DATABASE, options=options))


def within(call: Call, step: int = 0) -> Call:
    """The call, in the transaction that an earlier one began."""

    def request(seen: list[list[Any]]) -> Any:
        copy = type(call.request)()
        copy.CopyFrom(call.request)
        copy.transaction = seen[step][0].transaction
        return copy

    return replace(call, request=request)


def rollback(step: int = 0) -> Call:
    return within(Call("Rollback", protos.RollbackRequest(database=DATABASE)), step)


def at_time_of(call: Call, step: int, time: Callable[[Any], Any]) -> Call:
    """The call, reading as of a time that an earlier response tells."""

    def request(seen: list[list[Any]]) -> Any:
        copy = type(call.request)()
        copy.CopyFrom(call.request)
        copy.read_time.CopyFrom(time(seen[step][0]))
        return copy

    return replace(call, request=request)


def next_page(call: Call, step: int) -> Call:
    """The call, for the page behind an earlier one."""

    def request(seen: list[list[Any]]) -> Any:
        copy = type(call.request)()
        copy.CopyFrom(call.request)
        copy.page_token = seen[step][0].next_page_token
        return copy

    return replace(call, request=request)
