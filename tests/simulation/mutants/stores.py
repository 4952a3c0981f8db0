"""Mistakes in the event store, its broadcaster, listeners and votes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dsset import protos
from eventbox.sources import Broadcaster, EventStore, QuorumVotes, leader, listener_manager, stored_event
from eventbox.sources.votes import _Counting
from tests.simulation.mutants.patching import Change, mutant, rewritten


@mutant("store")
def storing_again_overwrites() -> list[Change]:
    return [
        rewritten(
            EventStore, "_store", "protos.Write(update=document, current_document=condition)",
            "protos.Write(update=document)",
        )
    ]  # fmt: skip


@mutant("store")
def storing_again_in_a_transaction_overwrites() -> list[Change]:
    return [rewritten(EventStore, "_store_in", "if snapshot.exists:", "if False:")]


@mutant("store")
def what_is_deleted_is_forgotten() -> list[Change]:
    return [
        rewritten(
            stored_event, "is_known", "\"held\" in fields or remember is None or age < remember",
            "\"held\" in fields",
        )
    ]  # fmt: skip


@mutant("store")
def deleting_deletes_the_document() -> list[Change]:
    return [(stored_event, "deletion", lambda name, expire_at: protos.Write(delete=name))]


@mutant("store")
def ttl_may_take_what_is_remembered() -> list[Change]:
    def deletion(name: str, expire_at: Any) -> Any:
        return original(name, None if expire_at is None else expire_at - timedelta(minutes=14))

    original = stored_event.deletion
    return [(stored_event, "deletion", deletion)]


@mutant("store")
def a_ghost_is_taken_for_an_event() -> list[Change]:
    """A mark of an event that was never stored keeps it from being stored."""
    return [rewritten(stored_event, "is_known", 'if "event_type" not in fields:', "if False:")]


@mutant("store")
def broadcasting_again_takes_back_that_it_was_received() -> list[Change]:
    original = stored_event.mark

    def mark(name: str, field: str, value: bool) -> Any:
        write = original(name, field, value)
        if not value:
            write.update.fields["received"].boolean_value = False
            write.update_mask.field_paths.append("received")
        return write

    return [(stored_event, "mark", mark)]


@mutant("store")
def what_could_not_be_broadcast_is_marked() -> list[Change]:
    return [rewritten(Broadcaster, "broadcast_all", "if task.result()", "if True or task.result()")]


@mutant("store")
def marks_are_not_tried_again() -> list[Change]:
    async def write_each(self: Any, writes: list[Any], backoff: Any) -> None:
        try:
            await original(self, writes, _Hopeless(backoff))
        except Exception:
            return

    original = EventStore._write_each
    return [(EventStore, "_write_each", write_each)]


class _Hopeless:
    def __init__(self, backoff: Any) -> None:
        self.attempt_timeout = backoff.attempt_timeout

    async def wait(self) -> bool:
        return False


@mutant("store")
def nothing_is_broadcast_again() -> list[Change]:
    async def rebroadcast(self: Any, unchanged_for: timedelta) -> int:
        return 0

    return [(Broadcaster, "rebroadcast", rebroadcast)]


@mutant("store")
def a_lost_answer_means_that_it_is_stored() -> list[Change]:
    return [
        rewritten(
            EventStore, "_store", "if not is_transient(error) or not await backoff.wait():",
            "if is_transient(error): return\n            if True:",
        )
    ]  # fmt: skip


@mutant("store")
def listings_break_off_where_a_page_fails() -> list[Change]:
    async def run(self: Any, query: Any, timeout: float) -> list[Any]:
        return (await original(self, query, timeout))[:1]

    original = EventStore._run
    return [(EventStore, "_run", run)]


@mutant("store")
def what_is_approved_is_stored_all_the_same() -> list[Change]:
    async def is_processed(self: Any, id: str) -> bool:
        return False

    return [(QuorumVotes, "is_processed", is_processed)]


@mutant("store")
def a_voter_counts_each_time() -> list[Change]:
    return [
        rewritten(
            _Counting, "prepare_mutation", "sorted({*state.voters, *(voter for voter, _ in votes)})",
            "[*state.voters, *(voter for voter, _ in votes), self._voter]",
        )
    ]  # fmt: skip


@mutant("store")
def late_votes_approve_again() -> list[Change]:
    return [rewritten(_Counting, "prepare_mutation", "if state.approved or not votes:", "if not votes:")]


@mutant("store")
def approval_is_told_before_the_commit() -> list[Change]:
    return [
        rewritten(
            _Counting,
            "prepare_mutation",
            "tally, side_effect =",
            "self.approved = True; tally, side_effect =",
        )
    ]


@mutant("store")
def votes_of_the_past_are_not_kept() -> list[Change]:
    return [
        rewritten(
            _Counting, "prepare_mutation", "Transition(_Tally(votes[0][1].id, voters), events=events)",
            "Transition(_Tally(votes[0][1].id, []), events=events)",
        )
    ]  # fmt: skip


@mutant("store")
def listeners_outlive_the_lease() -> list[Change]:
    async def end(*tasks: Any) -> None:
        return None

    return [(listener_manager, "end", end)]


@mutant("store")
def listeners_do_not_start_again() -> list[Change]:
    async def run(self: Any, work: Any) -> Any:
        await self._lock.lock()
        try:
            return await leader.while_held(self._lock, work(self._lock.token))
        except leader._Lost:
            return None
        finally:
            await self._lock.unlock()

    return [(leader.Leader, "run", run)]
