"""Limits of names, documents and requests: "Usage and limits" in Firestore's documentation."""

from __future__ import annotations

from typing import Any

from tests.emulator.firestore.conformance.calls import commit, get, put, query, run
from tests.emulator.firestore.conformance.rows import Fails, Row, table
from tests.emulator.firestore.conformance.ways import Way

LONG, TOO_LONG = "é" * 750, "é" * 751
MIB = 1 << 20


def allowed(id: str, says: str, path: str, content: dict[str, Any] | None = None) -> Row:
    shown = get(path).showing(lambda r: sorted(r[0].fields))
    return Row(id, says, [commit(put(path, content or {})), shown], sorted(content or {}))


def refused(id: str, says: str, path: str, message: str, content: dict[str, Any] | None = None) -> Row:
    return Row(id, says, [commit(put(path, content or {}))], Fails("INVALID_ARGUMENT", message))


def document_of(size: int) -> dict[str, Any]:
    """A document of so many bytes, by the documented reckoning: a name of 16 + 2 + 2, 32 more, and one field."""
    return {"x": b"." * (size - 20 - 32 - 2)}


ROWS = [
    allowed("id-1500", "an ID has up to 1,500 bytes", f"a/{LONG}"),
    refused("id-1501", "and no more", f"a/{TOO_LONG}", "longer than 1500 bytes"),
    allowed("collection-1500", "a collection's too", f"{LONG}/1"),
    refused("collection-1501", "and no more", f"{TOO_LONG}/1", "The key path element kind is longer than 1500 bytes."),
    refused("dot", "an ID is not . ", "a/.", 'contains a resource id "." at index'),
    refused("dots", "nor ..", "a/..", 'contains a resource id ".." at index'),
    refused("collection-dot", "neither is a collection's", "./1", 'contains a collection id "." at index'),
    allowed("dots-within", "dots within are fine", "a/.x./b/..."),
    refused("reserved", "an ID does not match __.*__", "a/__x__", 'Resource id "__x__" is invalid because it is reserved.'),
    refused("reserved-shortest", "not even with one underscore between", "a/_____", "reserved"),
    allowed("underscores", "with nothing between, production takes it", "a/____"),
    refused("collection-underscores", "a collection's ID does not match it at all", "____/1", "reserved"),
    refused("collection-reserved", "neither does a collection's", "__x__/1", 'Collection id "__x__" is invalid because it is reserved.'),
    allowed("reserved-half", "half of it is fine", "a/__x/b__/1"),
    allowed("numeric", "numeric IDs are", "a/__id7__/b/__id-9223372036854775808__"),
    refused("numeric-too-great", "of 64 bits", "a/__id9223372036854775808__", "must be formatted like '__id{LONG}__'"),
    refused("numeric-none", "and numbers", "a/__idx__", "must be formatted like '__id{LONG}__'"),
    refused("empty-id", "an ID is not empty", "a//b/1", "empty resource id"),
    refused("no-document", "a document's name ends in a document's ID", "a/1/b", 'lacks "/" at index'),
    allowed("depth-100", "subcollections nest 100 deep", "/".join(["a/1"] * 100)),
    refused("depth-101", "and no deeper", "/".join(["a/1"] * 101), "Key path is too long. Cannot exceed 100 elements."),
    refused("name-6-kib", "a name has at most 6 KiB", "/".join(["a", "x" * 1_500] * 5), "The document name is longer than 6144 bytes."),
    allowed("field-1500", "a field's name has up to 1,500 bytes", "a/1", {LONG: 1}),
    refused("field-1501", "and no more", "a/1", "longer than 1500 bytes", {TOO_LONG: 1}),
    refused("field-reserved", "it does not match __.*__", "a/1", "field name __x__ is reserved", {"__x__": 1}),
    refused("field-empty", "it is not empty", "a/1", "empty", {"": 1}),
    allowed("document-1-mib", "a document has up to 1 MiB", "a/1", document_of(MIB)),
    refused("document-too-large", "and no more", "a/1", "exceeds the maximum allowed size of 1,048,576 bytes", document_of(MIB + 1)),
    Row("request-10-mib", "a request has up to 10 MiB",
        [commit(*(put(f"a/{n}", {"x": b"." * 1_000_000}) for n in range(11)))],
        Fails("INVALID_ARGUMENT", "Request payload size exceeds the limit: 10485760 bytes"), leaves={"a/0": None}),
    Row("writes", "a commit has as many writes as its size allows",
        [commit(*(put(f"a/{n}", {}) for n in range(1_200))), run(query(of="a")).showing(lambda r: len(r))], 1_200),
]  # fmt: skip


@table(ROWS)
async def test_limits_are_where_the_documentation_has_them(way: Way, row: Row) -> None:
    await row.check(way)
