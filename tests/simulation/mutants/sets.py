"""Mistakes in the set of events: adding, listing, tombstones."""

from __future__ import annotations

from typing import Any

from grpc import StatusCode

from dsset import DSSet, adding, documents, dsset as dsset_module, listing, protos
from dsset.adding import Adding
from dsset.shared_adds import SharedAdds
from dsset.wire import Wire
from tests.simulation.mutants.patching import Change, mutant, rewritten


@mutant("transfers")
def adds_overwrite_what_is_there() -> list[Change]:
    original = documents.create

    def create(name: str, item: Any, token: bytes) -> Any:
        write = original(name, item, token).message()
        write.ClearField("current_document")
        return write

    return [(documents, "create", create)]


@mutant("transfers")
def adds_in_transactions_lower_due() -> list[Change]:
    def merge(name: str, item: Any) -> Any:
        return protos.Write(update=protos.Document(name=name, fields=documents._fields(item, b"")))

    return [(documents, "merge", merge)]


@mutant("transfers")
def a_resent_add_takes_itself_for_a_duplicate() -> list[Change]:
    original = Adding.looked

    def looked(self: Any, response: Any, token: bytes, delay: Any) -> None:
        original(self, response, b"another", delay)

    return [(Adding, "looked", looked)]


@mutant("transfers")
def an_add_that_was_refused_is_taken_for_done() -> list[Change]:
    def written(self: Any, code: StatusCode, message: str) -> bool:
        self.finish(code is StatusCode.OK)
        return False

    return [(Adding, "written", written)]


@mutant("transfers")
def events_come_before_they_are_due() -> list[Change]:
    original = documents.query_due

    def query_due(collection_id: str, due_by: int, limit: int, after: Any = None) -> Any:
        return original(collection_id, documents.GONE - 1, limit, after)

    decode = documents.decode

    def undated(document: Any) -> Any:
        item = decode(document)
        if item.process_after is not None:
            object.__setattr__(item, "process_after", None)
        return item

    return [(documents, "query_due", query_due), (documents, "decode", undated)]


@mutant("transfers")
def an_id_may_be_used_again_at_once() -> list[Change]:
    return [rewritten(Adding, "looked", "age + _GRAIN >= tombstones_delay", "True")]


@mutant("transfers")
def tombstones_forget_who_added() -> list[Change]:
    return [rewritten(documents, "pops", "item._token", 'b""')]


@mutant("transfers")
def adds_in_transactions_forget_who_added() -> list[Change]:
    old = "mask = _ADDED_IN_TRANSACTION if item.metadata else _ADDED_IN_TRANSACTION[:2]"
    return [rewritten(documents, "merge", old, 'mask = (*_ADDED_IN_TRANSACTION, "token")')]


@mutant("transfers")
def shared_adds_are_acknowledged_before_they_are_sent() -> list[Change]:
    old = "return [await one.told for one in waiting]"
    return [
        rewritten(SharedAdds, "add_each", old, "return [True for one in waiting]"),
        rewritten(DSSet, "add_one", "outcome = await waiting", "outcome = True"),
    ]


@mutant("transfers")
def the_status_of_each_write_is_not_looked_at() -> list[Change]:
    return [
        rewritten(
            adding, "_take_in", "code = _CODES.get(status.code, StatusCode.UNKNOWN)", "code = StatusCode.OK"
        )
    ]


@mutant("transfers")
def what_is_due_is_told_by_the_clock_alone() -> list[Change]:
    old = "item.process_after <= documents.moment(response.read_time)"
    change = rewritten(listing, "listed", old, "True")
    return [change, (dsset_module, "listed", change[2])]


@mutant("transfers")
def a_listing_that_was_cut_short_says_that_it_is_complete() -> list[Change]:
    change = rewritten(listing, "listed", "not cut and seen < limit", "not cut")
    return [change, (dsset_module, "listed", change[2])]


@mutant("transfers", "log")
def a_stream_that_ends_in_an_error_is_taken_for_whole() -> list[Change]:
    old = "raise exceptions.from_grpc_error(error) from error"
    read = rewritten(Wire, "_read", old, "if not heard:\n            " + old)
    in_blocks = rewritten(
        Wire, "run_query_in_blocks", old, "if not heard:\n            " + old + "\n        yield block"
    )
    return [read, in_blocks]


@mutant("transfers")
def garbage_is_deleted_without_a_tombstone() -> list[Change]:
    def remove(name: str, item_id: str, expire_at: Any) -> Any:
        return protos.Write(delete=name)

    return [(documents, "remove", remove)]


@mutant("transfers")
def garbage_forgets_that_it_was_consumed() -> list[Change]:
    """A delete that comes late makes an event of a tombstone again."""
    original = documents.remove

    def remove(name: str, item_id: str, expire_at: Any) -> Any:
        write = original(name, item_id, expire_at)
        write.update.fields["due"].integer_value = documents.READY
        return write

    return [(documents, "remove", remove)]
