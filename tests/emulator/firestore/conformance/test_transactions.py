"""Transactions, one at a time: google/firestore/v1/common.proto and firestore.proto.

How they wait for each other and conflict is in `test_transactions` and `test_locks`, a folder up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from emulator.firestore import protos
from tests.emulator.firestore.conformance.calls import (
    Call,
    aggregate,
    batch_get,
    begin,
    commit,
    count,
    delete,
    get,
    list_documents,
    put,
    query,
    rollback,
    run,
    within,
)
from tests.emulator.firestore.conformance.rows import Fails, Row, table
from tests.emulator.firestore.conformance.ways import Way

GIVEN = {"a/1": {"n": 1}, "a/2": {"n": 2}}
OPTIMISTIC = {"read_write": {"concurrency_mode": 1}}
GONE = "The referenced transaction has expired or is no longer valid."
FUTURE, OLD = protos.Timestamp(seconds=4_000_000_000), protos.Timestamp(seconds=1_000_000_000)
BEGUN = protos.TransactionOptions(read_write={})


def in_database(call: Call, database: str) -> Call:
    """The call in a transaction, sent to another database."""

    def request(seen: list[list[Any]]) -> Any:
        asked = call.request(seen)
        asked.database = f"projects/conformance/databases/{database}"
        return asked

    return replace(call, request=request)


def as_of(step: int) -> Call:
    """Begins a read-only transaction at the time of an earlier commit."""

    def request(seen: list[list[Any]]) -> Any:
        asked = protos.BeginTransactionRequest(database="projects/conformance/databases/(default)")
        asked.options.read_only.read_time.CopyFrom(seen[step][0].commit_time)
        return asked

    return Call("BeginTransaction", request)


def beginning(responses: list[Any]) -> list[list[str]]:
    return [sorted(field.name for field, _ in one.ListFields()) for one in responses]


ROWS = [
    Row("read-write", "reads, then writes", [begin(), within(get("a/1")), within(commit(put("a/1", {"n": 5}))), get("a/1")], {"n": 5}, GIVEN),
    Row("optimistic", "in either mode", [begin(**OPTIMISTIC), within(get("a/1")), within(commit(put("a/1", {"n": 5}))), get("a/1")], {"n": 5}, GIVEN),
    Row("empty", "a transaction may do nothing", [begin(), within(commit()).showing(lambda r: r[0].HasField("commit_time"))], True),
    Row("rollback", "a rollback lets go of it", [begin(), within(get("a/1")), rollback(), commit(put("a/1", {"n": 5})), get("a/1")], {"n": 5}, GIVEN),
    Row("rollback-committed", "after which it cannot commit", [begin(), rollback(), within(commit(put("a/1", {})))], Fails("INVALID_ARGUMENT", GONE)),
    Row("committed-twice", "nor twice", [begin(), within(commit()), within(commit())], Fails("INVALID_ARGUMENT", GONE)),
    Row("committed-read", "nor read", [begin(), within(commit()), within(get("a/1"))], Fails("INVALID_ARGUMENT", GONE), GIVEN),
    Row("committed-rollback", "a rollback of one that is done is no error", [begin(), within(commit()), rollback().showing(lambda r: len(r))], 1),
    Row("unknown", "a transaction is one that was begun", [commit(transaction=b"nonsense")], Fails("INVALID_ARGUMENT", GONE)),
    Row("unknown-rollback", "to be rolled back as well", [Call("Rollback", protos.RollbackRequest(
        database="projects/conformance/databases/(default)", transaction=b"nonsense"))], Fails("INVALID_ARGUMENT", GONE)),
    Row("another-database", "it belongs to its database", [begin(), in_database(within(commit()), "other")], Fails("INVALID_ARGUMENT", GONE)),
    Row("another-database-rollback", "which alone can roll it back", [begin(), in_database(rollback(), "other")], Fails("INVALID_ARGUMENT", GONE)),
    Row("still-there", "and has it still", [begin(), within(commit(put("a/1", {"n": 9}))), get("a/1")], {"n": 9}, GIVEN),
    Row("read-only", "a read-only transaction reads", [begin(read_only={}), within(get("a/1"))], {"n": 1}, GIVEN),
    Row("read-only-writes", "and does not write", [begin(read_only={}), within(commit(put("a/1", {})))],
        Fails("INVALID_ARGUMENT", "Cannot modify entities in a read-only transaction."), GIVEN, GIVEN),
    Row("read-only-snapshot", "all of it at one time", [
        begin(read_only={}), within(get("a/1")), commit(put("a/1", {"n": 5}), put("a/2", {"n": 5})), within(run(query(("n", "==", 5), of="a")))], [], GIVEN),
    Row("read-only-time", "read_time: documents as they were", [commit(put("a/1", {"n": 5})), commit(put("a/1", {"n": 6})), as_of(0), within(get("a/1"), 2)], {"n": 5}, GIVEN),
    Row("read-only-time-query", "for queries too", [
        commit(put("a/1", {"n": 5})), commit(delete("a/1")), as_of(0), within(run(query(of="a")), 2)], ["1", "2"], GIVEN),
    Row("read-only-time-count", "and aggregations", [
        commit(put("a/1", {"n": 5})), commit(delete("a/1")), as_of(0), within(aggregate(query(of="a"), n=count()), 2)], {"n": 2}, GIVEN),
    Row("read-only-time-list", "and lists", [commit(put("a/1", {"n": 5})), commit(delete("a/1")), as_of(0), within(list_documents("a"), 2)], ["1", "2"], GIVEN),
    Row("read-only-future", "not in the future", [begin(read_only={"read_time": FUTURE})], Fails("INVALID_ARGUMENT", "future")),
    Row("read-only-old", "nor long ago", [begin(read_only={"read_time": OLD})], Fails("FAILED_PRECONDITION", "too old")),
    Row("new-read-only-old", "also if a read begins it", [Call("RunQuery", run(query(), new_transaction=protos.TransactionOptions(
        read_only={"read_time": OLD})).request)], Fails("FAILED_PRECONDITION", "too old")),
    Row("new-read-only-future", "or is in the future", [run(query(), new_transaction=protos.TransactionOptions(read_only={"read_time": FUTURE}))],
        Fails("INVALID_ARGUMENT", "future")),
    Row("new-query", "a query that begins one tells its ID first, alone", [run(query(of="a"), new_transaction=BEGUN).showing(beginning)],
        [["transaction"], ["document", "read_time"], ["document", "read_time"]], GIVEN),
    Row("new-query-commit", "which can be committed", [run(query(of="a"), new_transaction=BEGUN), within(commit(put("a/1", {"n": 7}))), get("a/1")], {"n": 7}, GIVEN),
    Row("new-count", "an aggregation tells it with its result", [
        Call("RunAggregationQuery", protos.RunAggregationQueryRequest(
            new_transaction=BEGUN, **{field.name: value for field, value in aggregate(query(of="a"), n=count()).request.ListFields()}), beginning)],
        [["read_time", "result", "transaction"]], GIVEN),
    Row("sees-no-writes", "reads do not see the transaction's writes, which are sent with the commit", [begin(), within(get("a/1")), within(get("a/1"))], {"n": 1}, GIVEN),
    Row("missing", "what is missing can be read, and created", [begin(), within(batch_get("a/9")), within(commit(put("a/9", {}))), get("a/9")], {}, GIVEN),
    Row("retry", "retry_transaction names the one that failed", [
        begin(), within(commit()), Call("BeginTransaction", lambda seen: protos.BeginTransactionRequest(
            database="projects/conformance/databases/(default)", options={"read_write": {"retry_transaction": seen[0][0].transaction}}),
            lambda r: bool(r[0].transaction))], True),
]  # fmt: skip


@table(ROWS)
async def test_transactions_do_what_the_documentation_says(way: Way, row: Row) -> None:
    await row.check(way)
