"""Mistakes in batches, drains and processors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsset import documents, protos
from dsset.encoded_writes import EncodedWrites, before_write
from eventbox import DocumentProcessor, EventBox
from eventbox.batch import Batch
from eventbox.drain import Drain
from eventbox.listing_ahead import ListingAhead
from eventbox.staging import Staging
from eventbox.state_codec import Encoded
from eventbox.transaction import Transaction
from tests.account import PlainProcessor
from tests.simulation.mutants.patching import Change, mutant, rewritten


def _pops(change: Callable[[Any], Any]) -> list[Change]:
    """Each write that consumes an event becomes another."""
    original = documents.pops

    def pops(*args: Any) -> EncodedWrites:
        right = original(*args)
        encoded = [change(write).SerializeToString() for write in right.messages()]
        parts = [part for data in encoded for part in (before_write(len(data)), data)]
        return EncodedWrites(right.encoded_names, right.versions, parts)

    return [(documents, "pops", pops)]


@mutant("transfers")
def no_precondition_on_consumed_events() -> list[Change]:
    return _pops(lambda pop: protos.Write(update=pop.update))


@mutant("transfers")
def consumed_events_are_deleted_without_a_tombstone() -> list[Change]:
    return _pops(lambda pop: protos.Write(delete=pop.update.name, current_document=pop.current_document))


@mutant("transfers")
def events_are_not_consumed() -> list[Change]:
    return [(Staging, "consume", lambda self, pops: None)]


@mutant("transfers")
def no_version_check_of_documents() -> list[Change]:
    return [(Transaction, "_verify", lambda self, name, version: None)]


@mutant("transfers")
def no_version_check_of_plain_processors() -> list[Change]:
    class Whatever(int):
        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = int.__hash__

    async def unread(self: Any, transaction: Any) -> int:  # nothing is read in the transaction
        return Whatever(0)

    return [(PlainProcessor, "fetch_eversion", unread)]


@mutant("transfers")
def a_lagging_state_goes_with_a_later_listing() -> list[Change]:
    """The state is loaded before the listing, and nothing ties the two together."""
    return [*no_precondition_on_consumed_events(), *no_version_check_of_documents()]


@mutant("transfers")
def the_state_is_saved_under_the_old_eversion() -> list[Change]:
    original = DocumentProcessor.save_state

    async def save(self: Any, transaction: Any, state: Any, eversion: int) -> None:
        await original(self, transaction, state, eversion - 1)

    return [(DocumentProcessor, "save_state", save)]


@mutant("transfers")
def what_a_skipped_side_effect_wrote_stays() -> list[Change]:
    return [(Transaction, "_savepoint", lambda self: lambda: None)]


@mutant("transfers")
def post_process_runs_before_the_commit() -> list[Change]:
    original = Batch._apply

    async def apply(self: Any, transaction: Any, listing: Any, left: Any, transitions: Any) -> Any:
        kept = await original(self, transaction, listing, left, transitions)
        for transition in kept:
            if transition.post_process is not None:
                await transition.post_process()
        return kept

    return [(Batch, "_apply", apply)]


@mutant("transfers")
def post_process_is_returned_twice() -> list[Change]:
    original = EventBox.process_batch

    async def process_batch(self: Any, *arguments: Any, **options: Any) -> Any:
        return (await original(self, *arguments, **options)) * 2

    return [(EventBox, "process_batch", process_batch)]


@mutant("transfers")
def garbage_is_not_deleted() -> list[Change]:
    async def delete(*_: Any) -> None:
        return None

    return [(Batch, "_delete", delete)]


@mutant("transfers")
def batches_that_keep_the_state_check_no_version() -> list[Change]:
    old = "*(_verification(expectation) for expectation in pending.values()), "
    return [rewritten(Staging, "writes", old, "")]


@mutant("transfers")
def a_document_that_did_not_exist_is_not_looked_for() -> list[Change]:
    async def read_absences(self: Any, transaction: Transaction) -> None:
        for name in transaction._staging.unwritten_absences:
            transaction._staging.drop(name)

    return [(Batch, "_read_absences", read_absences)]


@mutant("transfers")
def consumed_events_are_deleted_beside_the_commit() -> list[Change]:
    old = "await self._delete(todo.garbage, listing)"
    return [rewritten(Batch, "_run", old, "await self._delete(events if todo.transitions else (), listing)")]


@mutant("transfers")
def garbage_stays_where_preparing_fails() -> list[Change]:
    return [rewritten(Batch, "_prepare", "await self._delete(garbage, listing)", "pass")]


@mutant("transfers")
def the_state_of_a_skipped_transition_is_saved() -> list[Change]:
    return [rewritten(Batch, "_apply", "return transitions[:position]", "return transitions")]


@mutant("transfers")
def callbacks_of_skipped_transitions_are_returned() -> list[Change]:
    old = "tuple(one.post_process for one in committed if"
    return [rewritten(Batch, "_run", old, "tuple(one.post_process for one in todo.transitions if")]


@mutant("transfers")
def a_drain_goes_on_from_a_state_that_was_not_committed() -> list[Change]:
    return [
        rewritten(
            Batch,
            "_commit",
            "response is not None and len(kept) == len(transitions):\n        after = kept[-1]",
            "response is not None:\n        after = transitions[-1]",
        ),
        rewritten(
            DocumentProcessor, "_keep", "BatchScope.current().saved[id(self)]", "self._codec.encode(state)"
        ),
    ]


@mutant("transfers")
def a_drain_goes_on_from_the_state_that_it_has_loaded() -> list[Change]:
    return [rewritten(DocumentProcessor, "_keep", "BatchScope.current().saved[id(self)]", "loaded.encoded")]


@mutant("transfers")
def a_drain_lists_ahead_from_the_beginning() -> list[Change]:
    return [rewritten(ListingAhead, "__init__", "self._list(after)", "self._list(None)")]


@mutant("transfers")
def a_drain_lists_for_the_batch_after_the_next_what_it_listed_for_the_next() -> list[Change]:
    return [rewritten(ListingAhead, "_begin_next", "listing.cursor", "None")]


@mutant("transfers")
def a_drain_that_listed_behind_does_not_look_before() -> list[Change]:
    return [
        rewritten(
            Drain,
            "_run_until_drained",
            "behind = kept is not None and kept.listing is not None",
            "behind = False",
        )
    ]


@mutant("transfers")
def a_drain_does_not_look_for_what_it_has_emitted_itself() -> list[Change]:
    return [rewritten(Drain, "_run_until_drained", "result.quiet and ", "")]


@mutant("transfers")
def a_drain_runs_callbacks_of_its_last_batch_only() -> list[Change]:
    old = "await _run_callbacks(result.post_process, self._recipient, self._telemetry)"
    return [rewritten(Drain, "_try", old, "if result.complete:\n                " + old)]


@mutant("transfers")
def keys_that_are_taken_out_of_a_dict_stay() -> list[Change]:
    original = Encoded.mask_paths
    return [(Encoded, "mask_paths", lambda self, loaded: original(self, self))]


@mutant("transfers")
def saving_replaces_the_whole_document() -> list[Change]:
    old = "update(self._name, entries, mask)"
    return [rewritten(DocumentProcessor, "save_state", old, f"protos.Write(update={old}.message().update)")]


@mutant("transfers")
def a_state_that_changed_is_not_saved_in_later_batches() -> list[Change]:
    old = "saves = bool(kept) and not self._offered.unchanged(state, kept[-1].transition_to)"
    return [rewritten(Batch, "_commit", old, "saves = bool(kept) and eversion < 3")]
