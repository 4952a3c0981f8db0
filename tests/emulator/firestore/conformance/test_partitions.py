"""PartitionQuery: google/firestore/v1/firestore.proto."""

from __future__ import annotations

from typing import Any

from emulator.firestore import protos
from tests.emulator.firestore.conformance.calls import (
    NAME,
    Call,
    at_time_of,
    commit,
    delete,
    next_page,
    partition,
    put,
    query,
    run,
)
from tests.emulator.firestore.conformance.plain import name_of
from tests.emulator.firestore.conformance.rows import Fails, Row, table
from tests.emulator.firestore.conformance.ways import Way

ALL = query(None, NAME, group=True)
NINE = {f"a/{n // 3}/c/{n}": {"n": n} for n in range(9)}


def refuses(id: str, says: str, call: Call, message: str) -> Row:
    return Row(id, says, [call], Fails("INVALID_ARGUMENT", message))


def parts(step: int, part: int) -> Call:
    """What a query finds in one of the parts that an earlier response made, by its cursors as they are."""

    def request(seen: list[list[Any]]) -> Any:
        cursors = seen[step][0].partitions
        asked = protos.RunQueryRequest(parent=name_of(""), structured_query=ALL)
        if part > 0:
            asked.structured_query.start_at.CopyFrom(cursors[part - 1])
        if part < len(cursors):
            asked.structured_query.end_at.CopyFrom(cursors[part])
        return asked

    return Call("RunQuery", request, run(ALL).show)


ROWS = [
    Row("even", "the cursors split the result evenly", [partition(ALL, 2)], ["a/1/c/3", "a/2/c/6"], NINE),
    Row("one", "one cursor makes two parts", [partition(ALL, 1)], ["a/1/c/4"], NINE),
    Row("fewer", "the actual number may be fewer", [partition(query(None, NAME, of="c", group=True), 99).showing(lambda r: len(r[0].partitions))], 8, NINE),
    Row("first-part", "query, end_at A", [partition(ALL, 2), parts(0, 0)], ["0", "1", "2", "3"], NINE),
    Row("middle-part", "query, start_at A, end_at B", [partition(ALL, 2), parts(0, 1)], ["4", "5", "6"], NINE),
    Row("last-part", "query, start_at B", [partition(ALL, 2), parts(0, 2)], ["7", "8"], NINE),
    Row("one-document", "an empty result: too few results to be partitioned", [partition(ALL, 3)], [], {"c/1": {}}),
    Row("nothing", "or none", [partition(ALL, 3)], []),
    Row("other-collections", "other collections do not count", [partition(ALL, 1)], ["c/2"], {"c/1": {}, "c/2": {}, "b/1": {}, "b/2": {}, "b/3": {}, "d/4": {}}),
    Row("page", "page_size: how many partitions a call returns", [partition(ALL, 5, page_size=2)], ["a/0/c/1", "a/1/c/3"], NINE),
    Row("next-page", "next_page_token gives the others", [partition(ALL, 5, page_size=2), next_page(partition(ALL, 5, page_size=4), 0)],
        ["a/1/c/4", "a/2/c/6", "a/2/c/7"], NINE),
    Row("last-page", "if blank, there are no more results", [
        partition(ALL, 5, page_size=2), next_page(partition(ALL, 5, page_size=9), 0).showing(lambda r: r[0].next_page_token)], "", NINE),
    Row("pages-of-one-time", "all pages show what was there at the first", [
        partition(ALL, 5, page_size=2), commit(*(delete(path) for path in NINE)), next_page(partition(ALL, 5, page_size=2), 0)], ["a/1/c/4", "a/2/c/6"], NINE),
    Row("read-time", "reads documents as they were at the given time", [
        commit(put("a/0/c/0", {})), commit(*(delete(path) for path in NINE)),
        at_time_of(partition(ALL, 2), 0, lambda response: response.commit_time)], ["a/1/c/3", "a/2/c/6"], NINE),
    Row("cursor-after", "a cursor lies behind its document", [partition(ALL, 1).showing(lambda r: r[0].partitions[0].before)], False, NINE),
    Row("no-order", "a query that does not state its order is not split", [partition(query(group=True), 2)], [], NINE),
    Row("kindless", "nor one without a collection ID", [partition(query(None, NAME, of="", group=True), 2)], [], NINE),
    refuses("count-0", "the number must be positive", partition(ALL, 0), "Partition count must be greater than zero."),
    refuses("count-negative", "not less", partition(ALL, -1), "Partition count must be greater than zero."),
    refuses("page-size", "neither is a page's", partition(ALL, 1, page_size=-1), "Page size must be nonnegative."),
    refuses("no-query", "there is a query", Call("PartitionQuery", protos.PartitionQueryRequest(parent=name_of(""), partition_count=1)), "Query is required."),
    refuses("parent", "document resource names are not supported", partition(ALL, 1, "a/1"), "Ancestor queries are not supported."),
    refuses("no-group", "a collection with all descendants", partition(query(None, NAME), 1), "Query must select all descendant collections."),
    refuses("filter", "filters are not supported", partition(query(("n", "==", 1), NAME, group=True), 1), "Query filters are not supported."),
    refuses("order", "neither are other orders", partition(query(None, "n", group=True), 1), "Query must be ordered by __name__ ascending."),
    refuses("order-descending", "nor other directions", partition(query(None, f"-{NAME}", group=True), 1), "Query must be ordered by __name__ ascending."),
    refuses("limit", "nor limits", partition(query(None, NAME, group=True, limit=1), 1), "Query limit is not supported."),
    refuses("offset", "nor offsets", partition(query(None, NAME, group=True, offset=1), 1), "Query offset is not supported."),
    refuses("start", "nor cursors", partition(query(None, NAME, group=True, start=[]), 1), "Query start cursors are not supported."),
    refuses("end", "at the end", partition(query(None, NAME, group=True, end=[]), 1), "Query end cursors are not supported."),
    refuses("select", "nor projections", partition(query(None, NAME, group=True, select=["n"]), 1), "Property masks are not supported."),
    refuses("token", "a token is one that was given", partition(ALL, 1, page_token="nonsense"), "invalid page token"),
    Row("token-of-another", "for the same request", [partition(ALL, 5, page_size=2), next_page(partition(ALL, 4, page_size=2), 0)],
        Fails("INVALID_ARGUMENT", "Invalid page token."), NINE),
    refuses("read-time-future", "not in the future", partition(ALL, 1, read_time=protos.Timestamp(seconds=4_000_000_000)), "future"),
]  # fmt: skip


@table(ROWS)
async def test_partitions_are_what_the_documentation_says(way: Way, row: Row) -> None:
    await row.check(way)
