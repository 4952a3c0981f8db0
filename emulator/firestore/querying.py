"""The RPCs that ask queries: their results, aggregations over them, where to split them, and how they are planned."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from grpc import StatusCode

from emulator.firestore import explain, names, protos
from emulator.firestore.aggregations import compile_aggregations
from emulator.firestore.counts import Counts
from emulator.firestore.partitions import compile_partitioned, partition
from emulator.firestore.query import Query, compile_query
from emulator.firestore.reading import Consistency, Reader
from emulator.firestore.responses import found_by_query, joined
from emulator.firestore.store import Store
from emulator.firestore.versions import timestamp
from emulator.status import Status

VECTORS_A_READ = 100
ENTRIES_A_READ = 1_000
"""How many index entries are billed as one read, by a nearest neighbour search and by an aggregation."""


class Querying:
    """Answers the RPCs.

    Args:
        compile: makes a query of a parent, its proto and the aggregations over it; a Status where it cannot be run.
    """

    def __init__(
        self,
        store: Store,
        reader: Reader,
        counts: Counts,
        compile: Callable[[str, Any, Iterable[Any]], Query],
    ) -> None:
        self._store = store
        self._reader = reader
        self._counts = counts
        self._compile = compile

    async def run(self, request: Any) -> Iterable[Any]:
        """The RunQueryResponses."""
        began_ns = time.perf_counter_ns()
        database = names.check_parent(request.parent)
        if request.WhichOneof("query_type") is None:
            raise _invalid("only structured queries are supported")
        query = self._compile(request.parent, request.structured_query, ())
        if _is_only_planned(request):
            self._counts.reads += 1
            return [protos.RunQueryResponse(explain_metrics=explain.plan(query))]
        consistency = self._reader.consistency(request, database)
        run, read_us = await self._reader.query(query, consistency)
        documents = len(run.documents) + run.skipped
        index_reads = 0 if query.nearest is None else run.scanned
        reads = max(1, documents + -(-index_reads // VECTORS_A_READ))
        self._counts.reads += reads
        read_time = timestamp(read_us)
        encoded_time = read_time.SerializeToString()
        responses = list(begun(consistency, protos.RunQueryResponse))
        if run.skipped or not run.documents:
            responses.append(protos.RunQueryResponse(read_time=read_time, skipped_results=run.skipped))
        found = (found_by_query(query.project(document), encoded_time) for document in run)
        if not request.HasField("explain_options"):
            # each is made as it is sent, so that a large result lets others go in between
            return chain(responses, found)
        responses.extend(found)
        took_ns = time.perf_counter_ns() - began_ns
        execution = explain.Execution(len(run.documents), reads, documents, run.scanned, index_reads, took_ns)
        metrics = protos.RunQueryResponse(explain_metrics=explain.analysis(query, execution))
        # no response of its own, as in production: clients count what they are streamed
        responses[-1] = joined(responses[-1], metrics)
        return responses

    async def aggregate(self, request: Any) -> Iterable[Any]:
        """The one RunAggregationQueryResponse."""
        began_ns = time.perf_counter_ns()
        database = names.check_parent(request.parent)
        if request.WhichOneof("query_type") is None:
            raise _invalid("Only structured aggregation queries are supported.")
        structured = request.structured_aggregation_query
        aggregations = compile_aggregations(structured.aggregations)
        self._compile(request.parent, structured.structured_query, structured.aggregations)
        query = compile_query(request.parent, structured.structured_query, having=aggregations.paths)
        if _is_only_planned(request):
            self._counts.reads += 1
            return [protos.RunAggregationQueryResponse(explain_metrics=explain.plan(query))]
        consistency = self._reader.consistency(request, database)
        run, read_us = await self._reader.query(query.up_to(aggregations.enough), consistency)
        reads = max(1, -(-(len(run.documents) + run.skipped) // ENTRIES_A_READ))
        self._counts.reads += reads
        result = aggregations.result(run.documents)
        response = protos.RunAggregationQueryResponse(result=result, read_time=timestamp(read_us))
        if request.HasField("explain_options"):
            took_ns = time.perf_counter_ns() - began_ns
            execution = explain.Execution(1, reads, 0, run.scanned, run.scanned, took_ns)
            response.explain_metrics.CopyFrom(explain.analysis(query, execution))
        if consistency.began and consistency.transaction is not None:
            response.transaction = consistency.transaction.id
        return [response]

    async def partition(self, request: Any) -> Any:
        """The PartitionQueryResponse."""
        query = compile_partitioned(request)
        consistency = self._reader.consistency(request, names.check_parent(request.parent))
        response = partition(request, query, self._store, consistency.read_us)
        self._counts.reads += max(1, len(response.partitions))
        return response

    async def execute_pipeline(self, request: Any) -> Iterable[Any]:
        """Refuses: a Standard edition database has no pipelines."""
        raise Status(
            StatusCode.UNIMPLEMENTED,
            "Pipeline operations are only available for Firestore databases in Enterprise edition, and this is a "
            "Standard edition one. Use queries (RunQuery) and aggregations (RunAggregationQuery) instead.",
        )


def begun(consistency: Consistency, response: Any) -> Iterator[Any]:
    """The response that tells a new transaction's ID, alone, as production sends it first."""
    if consistency.began and consistency.transaction is not None:
        yield response(transaction=consistency.transaction.id)


def _is_only_planned(request: Any) -> bool:
    return request.HasField("explain_options") and not request.explain_options.analyze


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
