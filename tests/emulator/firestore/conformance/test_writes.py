"""Writes, preconditions and masks: google/firestore/v1/write.proto, common.proto and firestore.proto."""

from __future__ import annotations

from emulator.firestore import protos
from tests.emulator.firestore.conformance.calls import (
    DATABASE,
    Call,
    batch_write,
    commit,
    create,
    delete,
    document,
    exists,
    get,
    increment,
    put,
    transform,
)
from tests.emulator.firestore.conformance.plain import Reference, name_of
from tests.emulator.firestore.conformance.rows import Fails, Row, table
from tests.emulator.firestore.conformance.ways import Way

A = {"a/1": {"x": 1, "m": {"y": 2, "z": 3}}}
STALE = protos.Precondition(update_time=protos.Timestamp(seconds=1))
FUTURE = protos.Precondition(update_time=protos.Timestamp(seconds=4_000_000_000))


def update_times(responses: list) -> list[bool]:  # type: ignore[type-arg]
    """Whether each write's result has an update time, and it is the commit's."""
    return [one.update_time == responses[0].commit_time for one in responses[0].write_results]


def with_time_of(call: Call, step: int) -> Call:
    """The commit, its first write on condition of the update time of an earlier one."""

    def request(seen: list) -> object:  # type: ignore[type-arg]
        copy = protos.CommitRequest()
        copy.CopyFrom(call.request)
        copy.writes[0].current_document.update_time.CopyFrom(seen[step][0].write_results[0].update_time)
        return copy

    return Call(call.rpc, request, call.show)


ROWS = [
    Row("update-creates", "an update without a precondition creates the document", [commit(put("a/1", {"x": 1})), get("a/1")], {"x": 1}),
    Row("update-replaces", "without a mask, any existing data is overwritten", [commit(put("a/1", {"n": 1})), get("a/1")], {"n": 1}, A),
    Row("mask-keeps", "fields that the mask does not cover are left unchanged",
        [commit(put("a/1", {"n": 1, "x": 9}, ["n"])), get("a/1")], {"m": {"y": 2, "z": 3}, "n": 1, "x": 1}, A),
    Row("mask-deletes", "fields in the mask that the input lacks are deleted",
        [commit(put("a/1", {}, ["x", "m.y"])), get("a/1")], {"m": {"z": 3}}, A),
    Row("mask-deletes-nothing", "deleting a field that is not there is no error",
        [commit(put("a/1", {}, ["q", "m.q.r", "x.q"])), get("a/1")], A["a/1"], A),
    Row("mask-nested", "a nested path sets that one key", [commit(put("a/1", {"m": {"y": 9}}, ["m.y"])), get("a/1")], {"m": {"y": 9, "z": 3}, "x": 1}, A),
    Row("mask-through-scalar", "a nested path below what is no map makes it a map",
        [commit(put("a/1", {"x": {"y": 9}}, ["x.y"])), get("a/1")], {"m": {"y": 2, "z": 3}, "x": {"y": 9}}, A),
    Row("mask-empty-creates", "an empty mask makes an empty document where there is none", [commit(put("a/2", {"x": 1}, [])), get("a/2")], {}),
    Row("mask-empty-keeps", "an empty mask changes nothing where there is one", [commit(put("a/1", {"x": 9}, [])), get("a/1")], A["a/1"], A),
    Row("mask-quoted", "segments that are no identifiers are quoted by backticks",
        [commit(put("a/1", {"a.b": 1, "c`d": 2, "é": 3}, ["`a.b`", "`c\\`d`"])), get("a/1")], {"a.b": 1, "c`d": 2, "m": {"y": 2, "z": 3}, "x": 1}, A),
    Row("mask-malformed", "a path follows the syntax of field paths", [commit(put("a/1", {}, ["a..b"]))],
        Fails("INVALID_ARGUMENT", 'Invalid property path "a..b". Unquoted property paths must match regex')),
    Row("mask-empty-path", "a path has a segment", [commit(put("a/1", {}, [""]))], Fails("INVALID_ARGUMENT", "Invalid empty property path string.")),
    Row("mask-reserved", "the paths in the mask must not contain a reserved field name", [commit(put("a/1", {}, ["__x__"]))],
        Fails("INVALID_ARGUMENT", "Invalid reserved name in field path __x__")),
    Row("mask-name", "the name is a reserved field name too", [commit(put("a/1", {}, ["__name__"]))],
        Fails("INVALID_ARGUMENT", "Invalid reserved name in field path __name__")),
    Row("exists-false", "exists=false: the target must not exist", [commit(put("a/1", {}, current_document=exists(False)))],
        Fails("ALREADY_EXISTS", f"Document already exists: {name_of('a/1')}"), A),
    Row("exists-true", "exists=true: the target must exist", [commit(put("a/2", {}, current_document=exists(True)))],
        Fails("NOT_FOUND", f"No document to update: {name_of('a/2')}"), A),
    Row("exists-true-delete", "the same for a delete", [commit(delete("a/2", current_document=exists(True)))], Fails("NOT_FOUND", "No document to update")),
    Row("delete-missing", "without a precondition, deleting what is not there is no error", [commit(delete("a/2")).showing(lambda r: len(r[0].write_results))], 1),
    Row("update-time-stale", "update_time: the document must have been last updated at that time",
        [commit(put("a/1", {}, current_document=STALE))], Fails("FAILED_PRECONDITION", "does not match the required base version"), A),
    Row("update-time-missing", "update_time: the target must exist", [commit(put("a/2", {}, current_document=STALE))], Fails("NOT_FOUND")),
    Row("update-time-future", "a future update_time is an invalid argument", [commit(put("a/1", {}, current_document=FUTURE))], Fails("INVALID_ARGUMENT"), A),
    Row("update-time-right", "with the right time it is done",
        [commit(put("a/2", {"n": 1})), with_time_of(commit(put("a/2", {"n": 2})), 0), get("a/2")], {"n": 2}),
    Row("update-time-once", "and only once", [
        commit(put("a/2", {"n": 1})), with_time_of(commit(put("a/2", {"n": 2})), 0), with_time_of(commit(put("a/2", {"n": 3})), 0)],
        Fails("FAILED_PRECONDITION")),
    Row("result-time", "update_time is the time of the commit", [commit(put("a/1", {"n": 1})).showing(update_times)], [True]),
    Row("result-time-unchanged", "a write that did not change the document has the previous update_time",
        [commit(put("a/1", A["a/1"])).showing(update_times)], [False], A),
    Row("result-time-delete", "update_time is not set after a delete",
        [commit(delete("a/1")).showing(lambda r: r[0].write_results[0].HasField("update_time"))], False, A),
    Row("zero-changes-negative-zero", "0.0 and -0.0 are different values to store",
        [commit(put("a/2", {"z": 0.0})), commit(put("a/2", {"z": -0.0})).showing(update_times)], [True]),
    Row("atomic", "a commit is all or nothing", [commit(put("a/2", {}), delete("a/1"), put("a/1", {}, current_document=exists(True)))],
        Fails("NOT_FOUND"), A, leaves={"a/1": A["a/1"], "a/2": None}),
    Row("in-order", "writes are executed in order", [
        commit(put("a/2", {"n": 1}), transform("a/2", n=increment(2)), delete("a/2"), put("a/2", {"n": 7}, current_document=exists(False))), get("a/2")], {"n": 7}),
    Row("same-document-twice", "a later write of one commit sees the earlier", [
        commit(put("a/2", {"n": 1}), put("a/2", {"m": 2}, ["m"])), get("a/2")], {"m": 2, "n": 1}),
    Row("delete-create", "a document that is deleted and made anew has a new create_time", [
        commit(delete("a/1"), put("a/1", {})).showing(update_times)], [False, True], A),
    Row("no-writes", "a commit without writes succeeds", [commit().showing(lambda r: r[0].HasField("commit_time"))], True),
    Row("no-operation", "a write has an operation", [commit(protos.Write())], Fails("INVALID_ARGUMENT")),
    Row("mask-on-delete", "update_mask can be set only when the operation is update",
        [commit(delete("a/1", update_mask=protos.DocumentMask(field_paths=["x"])))], Fails("INVALID_ARGUMENT", "update_mask"), A),
    Row("transforms-on-delete", "update_transforms can be set only when the operation is update",
        [commit(delete("a/1", update_transforms=[{"field_path": "x", "set_to_server_value": 1}]))], Fails("INVALID_ARGUMENT", "update_transforms"), A),
    Row("another-database", "all documents lie in the request's database",
        [commit(protos.Write(delete="projects/conformance/databases/other/documents/a/1"))],
        Fails("INVALID_ARGUMENT", f"The request was for database '{DATABASE}' but was attempting to access database")),
    Row("batch-write-each", "each write succeeds or fails by itself",
        [batch_write(put("a/1", {}, current_document=exists(False)), put("a/2", {}), delete("a/3", current_document=exists(True)))], [6, 0, 5], A),
    Row("batch-write-twice", "a document can be written only once", [batch_write(put("a/1", {}), delete("a/1"))], Fails("INVALID_ARGUMENT")),
    Row("batch-write-501", "a batch write has at most 500 writes", [batch_write(*(put(f"a/{n}", {}) for n in range(501)))], Fails("INVALID_ARGUMENT")),
    Row("create", "the ID may be given", [create("", "a", "x", {"n": 1})], {"a/x": {"n": 1}}),
    Row("create-below", "the parent may be a document", [create("a/1", "b", "x", {"n": 1})], {"a/1/b/x": {"n": 1}}),
    Row("create-assigns", "if no ID is given, the service assigns one", [create("", "a", "", {}).showing(lambda r: len(r[0].name.rpartition("/")[2]) >= 20)], True),
    Row("create-again", "a document that exists already is not made", [create("", "a", "1", {})], Fails("ALREADY_EXISTS", "Document already exists"), A),
    Row("create-slash", "an ID has no slash", [create("", "a", "1/b/2", {})], Fails("INVALID_ARGUMENT", 'Resource id "1/b/2" is invalid')),
    Row("create-collection-slash", "neither has a collection's", [create("", "a/1/b", "2", {})], Fails("INVALID_ARGUMENT", 'Collection id "a/1/b" is invalid because it contains "/".')),
    Row("create-no-collection", "a collection has an ID", [create("", "", "1", {})], Fails("INVALID_ARGUMENT")),
    Row("update-document", "UpdateDocument answers the document, masked", [
        Call("UpdateDocument", protos.UpdateDocumentRequest(
            document=document("a/1", {"x": 5}), update_mask=protos.DocumentMask(field_paths=["x"]), mask=protos.DocumentMask(field_paths=["x"])),
            lambda r: list(r[0].fields))], ["x"], A),
    Row("update-document-missing", "exists=true refuses to create", [
        Call("UpdateDocument", protos.UpdateDocumentRequest(document=document("a/2", {}), current_document=exists(True)))], Fails("NOT_FOUND")),
    Row("delete-document", "DeleteDocument keeps preconditions", [
        Call("DeleteDocument", protos.DeleteDocumentRequest(name=name_of("a/2"), current_document=exists(True)))], Fails("NOT_FOUND")),
    Row("reference-anywhere", "a reference need not point to anything", [commit(put("a/1", {"r": Reference("no/where")})), get("a/1")], {"r": Reference("no/where")}),
]  # fmt: skip


@table(ROWS)
async def test_writes_do_what_the_documentation_says(way: Way, row: Row) -> None:
    await row.check(way)
