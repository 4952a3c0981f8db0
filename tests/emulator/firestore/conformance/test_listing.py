"""Reading by name, and listing: google/firestore/v1/firestore.proto."""

from __future__ import annotations

from typing import Any

from emulator.firestore import protos
from tests.emulator.firestore.conformance.calls import (
    Call,
    at_time_of,
    batch_get,
    begin,
    commit,
    delete,
    get,
    list_collection_ids,
    list_documents,
    next_page,
    put,
    within,
)
from tests.emulator.firestore.conformance.plain import name_of, plain_fields
from tests.emulator.firestore.conformance.rows import Fails, Row, table
from tests.emulator.firestore.conformance.ways import Way

TREE: dict[str, dict[str, Any]] = {
    "a/1": {"n": 3, "m": {"x": 1, "y": 2}}, "a/2": {"n": 1}, "a/3": {}, "a/0/b/1": {}, "a/1/b/2": {}, "d/1/e/2/f/3": {},
}  # fmt: skip
FUTURE = protos.Timestamp(seconds=4_000_000_000)
OLD = protos.Timestamp(seconds=1_000_000_000)
LONG_AGO = protos.TransactionOptions(read_only={"read_time": OLD})


def tokens(responses: list[Any]) -> bool:
    return bool(responses[0].next_page_token)


def time(response: Any) -> Any:
    return response.commit_time


ROWS = [
    Row("get", "a document", [get("a/1")], TREE["a/1"], TREE),
    Row("get-missing", "that is not there", [get("a/9")], Fails("NOT_FOUND", f'Document "{name_of("a/9")}" not found.'), TREE),
    Row("get-parent", "a document that only has collections is not there", [get("a/0")], Fails("NOT_FOUND"), TREE),
    Row("get-mask", "only the fields in the mask", [get("a/1", ["m.x", "none"])], {"m": {"x": 1}}, TREE),
    Row("get-mask-empty", "which may be none", [get("a/1", [])], {}, TREE),
    Row("get-mask-malformed", "a mask has good paths", [get("a/1", ["a."])], Fails("INVALID_ARGUMENT", "Invalid property path"), TREE),
    Row("get-collection", "a document's name", [get("a")], Fails("INVALID_ARGUMENT", 'lacks "/" at index')),
    Row("get-times", "with when it was created and updated", [
        commit(put("a/1", {"n": 2})), get("a/1").showing(lambda r: r[0].create_time.ToNanoseconds() < r[0].update_time.ToNanoseconds())], True, TREE),
    Row("get-read-time", "as it was", [commit(put("a/2", {"n": 2})), commit(put("a/2", {"n": 3})), at_time_of(get("a/2"), 0, time)], {"n": 2}, TREE),
    Row("get-read-time-deleted", "also if it has gone since", [commit(put("a/2", {"n": 2})), commit(delete("a/2")), at_time_of(get("a/2"), 0, time)], {"n": 2}, TREE),
    Row("get-read-time-before", "or had not come yet", [commit(delete("a/9")), commit(put("a/9", {})), at_time_of(get("a/9"), 0, time)], Fails("NOT_FOUND"), TREE),
    Row("get-read-time-future", "not in the future", [get("a/1", read_time=FUTURE)], Fails("INVALID_ARGUMENT", "future"), TREE),
    Row("get-read-time-old", "nor long ago", [get("a/1", read_time=OLD)], Fails("FAILED_PRECONDITION", "too old"), TREE),
    Row("get-transaction", "in a transaction", [begin(), within(get("a/2"))], {"n": 1}, TREE),
    Row("get-many", "several at once, those that are missing as well", [batch_get("a/2", "a/9", "a/3").showing(lambda r: sorted(map(str, batch_get().show(r))))],
        ["['a/2', {'n': 1}]", "['a/3', {}]", "['a/9', None]"], TREE),
    Row("get-many-twice", "duplicate names are elided", [batch_get("a/3", "a/3", "a/3")], [["a/3", {}]], TREE),
    Row("get-many-mask", "masked", [batch_get("a/1", mask=protos.DocumentMask(field_paths=["n"]))], [["a/1", {"n": 3}]], TREE),
    Row("get-many-elsewhere", "all of the given database", [
        Call("BatchGetDocuments", protos.BatchGetDocumentsRequest(
            database="projects/conformance/databases/other", documents=[name_of("a/1")]))], Fails("INVALID_ARGUMENT", "attempting to access database")),
    Row("get-many-new-transaction", "a transaction that begins is the first response", [
        batch_get("a/2", new_transaction=protos.TransactionOptions()).showing(lambda r: [bool(one.transaction) for one in r])], [True, False], TREE),
    Row("list", "a collection by name", [list_documents("a")], ["1", "2", "3"], TREE),
    Row("list-below", "under a document", [list_documents("b", "a/1")], ["2"], TREE),
    Row("list-none", "that may be empty", [list_documents("none")], [], TREE),
    Row("list-missing", "show_missing: with those that have only subcollections", [list_documents("a", show_missing=True)], ["0", "1", "2", "3"], TREE),
    Row("list-missing-times", "which have neither fields nor times", [
        list_documents("a", show_missing=True, page_size=1).showing(lambda r: [r[0].documents[0].HasField("create_time"), plain_fields(r[0].documents[0].fields)])],
        [False, {}], TREE),
    Row("list-missing-order", "not together with order_by", [list_documents("a", show_missing=True, order_by="n")], Fails("INVALID_ARGUMENT"), TREE),
    Row("list-order", "order_by as in SQL", [list_documents("a", order_by="n")], ["2", "1"], TREE),
    Row("list-order-desc", "with a direction", [list_documents("a", order_by="n desc, __name__ desc")], ["1", "2"], TREE),
    Row("list-order-ties", "ties by name in the direction of the last", [list_documents("a", order_by="n desc")], ["3", "1", "2"],
        {"a/1": {"n": 1}, "a/2": {"n": 0}, "a/3": {"n": 1}}),
    Row("list-order-name", "by name, backwards", [list_documents("a", order_by="__name__ desc")], ["3", "2", "1"], TREE),
    Row("list-order-malformed", "that is well-formed", [list_documents("a", order_by="n sideways")], Fails("INVALID_ARGUMENT"), TREE),
    Row("list-page", "page_size", [list_documents("a", page_size=2)], ["1", "2"], TREE),
    Row("list-next-page", "a token for the next page", [list_documents("a", page_size=2), next_page(list_documents("a", page_size=2), 0)], ["3"], TREE),
    Row("list-next-page-order", "also with an order", [
        list_documents("a", page_size=1, order_by="n desc"), next_page(list_documents("a", page_size=1, order_by="n desc"), 0)], ["2"], TREE),
    Row("list-next-page-missing", "and with those that are missing", [
        list_documents("a", page_size=1, show_missing=True), next_page(list_documents("a", page_size=2, show_missing=True), 0)], ["1", "2"], TREE),
    Row("list-last-page", "the last one has none", [list_documents("a", page_size=3).showing(tokens)], False, TREE),
    Row("list-page-0", "the service may choose the size", [list_documents("a", page_size=0).showing(lambda r: [len(r[0].documents), tokens(r)])],
        [100, True], {f"a/{n}": {} for n in range(101)}),
    Row("list-page-most", "which it bounds", [list_documents("a", page_size=9_999).showing(lambda r: [len(r[0].documents), tokens(r)])],
        [300, True], {f"a/{n}": {} for n in range(301)}),
    Row("list-page-negative", "it is not negative", [list_documents("a", page_size=-1)], Fails("INVALID_ARGUMENT", "page_size")),
    Row("list-token", "a token is one that was given", [list_documents("a", page_token="nonsense")], Fails("INVALID_ARGUMENT", "page token")),
    Row("list-mask", "masked", [list_documents("a", mask=protos.DocumentMask(field_paths=["m.y"])).showing(lambda r: [plain_fields(one.fields) for one in r[0].documents])],
        [{"m": {"y": 2}}, {}, {}], TREE),
    Row("list-read-time", "as it was", [commit(delete("a/3")), commit(delete("a/2")), at_time_of(list_documents("a"), 0, time)], ["1", "2"], TREE),
    Row("list-read-time-missing", "with what was missing then", [
        commit(delete("a/3")), commit(delete("a/2"), delete("a/0/b/1"), put("a/9/b/1", {})), at_time_of(list_documents("a", show_missing=True), 0, time)],
        ["0", "1", "2"], TREE),
    Row("list-transaction", "in a transaction", [begin(read_only={}), commit(delete("a/3")), within(list_documents("a"))], ["1", "2"], TREE),
    Row("list-path", "an ID, no path", [list_documents("a/1/b")], Fails("INVALID_ARGUMENT", 'Collection id "a/1/b" is invalid')),
    Row("collections", "the IDs of the collections under a document, also of those that lie deeper only", [list_collection_ids()], ["a", "d"], TREE),
    Row("collections-below", "under a document", [list_collection_ids("a/1")], ["b"], TREE),
    Row("collections-missing", "that need not exist", [list_collection_ids("d/1")], ["e"], TREE),
    Row("collections-none", "or none", [list_collection_ids("a/2")], [], TREE),
    Row("collections-emptied", "an empty collection is none", [commit(delete("a/0/b/1")), list_collection_ids("a/0")], [], TREE),
    Row("collections-page", "page_size", [list_collection_ids(page_size=1)], ["a"], TREE),
    Row("collections-next-page", "and a token", [list_collection_ids(page_size=1), next_page(list_collection_ids(page_size=1), 0)], ["d"], TREE),
    Row("collections-last-page", "of which the last has none", [list_collection_ids(page_size=2).showing(tokens)], False, TREE),
    Row("collections-page-negative", "not negative", [list_collection_ids(page_size=-1)], Fails("INVALID_ARGUMENT", "Page size")),
    Row("collections-read-time", "as it was", [
        commit(delete("a/9")), commit(delete("d/1/e/2/f/3"), put("z/1", {})), at_time_of(list_collection_ids(), 0, time)], ["a", "d"], TREE),
    Row("collections-read-time-future", "not in the future", [list_collection_ids(read_time=FUTURE)], Fails("INVALID_ARGUMENT", "future")),
    Row("collections-parent", "a parent is no collection", [list_collection_ids("a")], Fails("INVALID_ARGUMENT", 'lacks "/" at index')),
]  # fmt: skip


@table(ROWS)
async def test_reading_by_name_and_listing_do_what_the_documentation_says(way: Way, row: Row) -> None:
    await row.check(way)
