"""Mistakes in the event log: appending, ordering, following, reading and trimming."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from eventbox.log import event_log, following, segments, trimming
from eventbox.log.appending import Appender
from eventbox.log.cursor import CursorDocument
from eventbox.log.following import Follower
from eventbox.log.in_process import LONG_PAST, Ranks
from eventbox.log.ordering import Ordering, _Arrivals
from eventbox.log.reading import Page, Reader
from eventbox.log.transient import TransientEntries
from eventbox.log.watching import _Listener
from eventbox.processor import Mutation, Transition
from tests.simulation.mutants.patching import Change, mutant, rewritten

# Appending --------------------------------------------------------------------------------------------------


@mutant("log")
def entries_are_ranked_by_the_clock_alone() -> list[Change]:
    def next_rank(self: Any, now: datetime) -> datetime:
        return now - LONG_PAST

    return [(Ranks, "next", next_rank)]


@mutant("log")
def entries_have_no_rank() -> list[Change]:
    return [rewritten(Appender, "_event", "process_after=rank", "process_after=None")]


@mutant("log")
def entries_are_appended_beside_the_transaction() -> list[Change]:
    return [
        rewritten(Appender, "append", "for entry in stored], transaction)", "for entry in stored], None)")
    ]


@mutant("log")
def transient_entries_do_not_wait_for_the_commit() -> list[Change]:
    return [
        rewritten(
            Appender,
            "append",
            "transaction.on_commit(lambda: self._in_process.subscribers.publish(transient))",
            "self._in_process.subscribers.publish(transient)",
        )
    ]


@mutant("log")
def transient_entries_are_heard_twice() -> list[Change]:
    original = TransientEntries._take_in

    def take_in(self: Any, entry: Any) -> None:
        original(self, entry)
        original(self, entry)

    return [(TransientEntries, "_take_in", take_in)]


# Ordering ---------------------------------------------------------------------------------------------------


@mutant("log")
def entries_are_ordered_behind_a_head_that_was_read_earlier() -> list[Change]:
    """Each process remembers the head of its last step, and does not look whether it is still that."""
    original = Ordering._append

    def append(self: Any, head: Any, entries: Any) -> Any:
        client = self.recipient.ref._client
        remembered = getattr(client, "_remembered_head", head)
        after, writes = original(self, remembered, entries)
        client._remembered_head = after
        return after, writes

    return [(Ordering, "_append", append)]


@mutant("log")
def pending_entries_are_deleted_before_the_commit() -> list[Change]:
    original = Ordering.prepare_mutation

    async def prepare(self: Any, events: Any, state: Any) -> Any:
        mutation = await original(self, events, state)
        if not mutation.transitions:
            return mutation
        (transition,) = mutation.transitions
        head, write = transition.transition_to, transition.side_effect
        return Mutation([Transition(head, side_effect=write)], garbage=list(transition.events))

    return [(Ordering, "prepare_mutation", prepare)]


@mutant("log")
def entries_are_not_consumed_when_they_are_ordered() -> list[Change]:
    return [
        rewritten(
            Ordering,
            "prepare_mutation",
            "events=[entry.event for entry in chosen]",
            "events=[entry.event for entry in chosen[:-1]]",
        )
    ]


@mutant("log")
def a_step_takes_entries_as_they_come() -> list[Change]:
    return [
        rewritten(
            Ordering, "_entries", "sorted(events, key=_rank)", "sorted(events, key=lambda event: event.id)"
        )
    ]


@mutant("log")
def trimable_entries_are_in_the_persistent_log() -> list[Change]:
    return [
        rewritten(Ordering, "_append", "if entry.persistence is EventPersistence.PERSISTENT:", "if True:")
    ]


@mutant("log")
def the_time_of_an_entry_is_its_appenders() -> list[Change]:
    return [
        rewritten(
            Ordering,
            "_append",
            "logged_at = at if logged_at is None else max(logged_at, at)",
            "logged_at = entry.appended_at",
        )
    ]


@mutant("log")
def ordering_waits_for_a_change_after_a_step_that_failed() -> list[Change]:
    original = _Arrivals.wait

    async def wait(self: Any) -> None:
        await original(self)
        self._waiting = False

    return [(_Arrivals, "wait", wait)]


@mutant("log")
def a_segment_is_written_anew_when_it_is_filled_further() -> list[Change]:
    return [rewritten(segments, "write", "if extension.first == extension.segment:", "if True:")]


# Following --------------------------------------------------------------------------------------------------


@mutant("log")
def the_cursor_is_moved_after_the_commit() -> list[Change]:
    original = Follower._commit

    async def commit(self: Any, transaction: Any, position: int) -> Any:
        document, before = self._document, self._cursor

        class Unmoved:
            outcome = document.outcome
            load = document.load

            def move_in(self, *_: Any) -> None:
                return None

        self._document = Unmoved()
        try:
            refusal = await original(self, transaction, position)
        finally:
            self._document = document
        if refusal is None:
            await document.move(position)
            self._cursor = await document.load(before.position)
        return refusal

    return [(Follower, "_commit", commit)]


@mutant("log")
def the_cursor_is_moved_before_the_handler_runs() -> list[Change]:
    original = Follower._handle

    async def handle(self: Any, entries: Any) -> int:
        await self._document.move(entries[0].id + 1)
        self._cursor = await self._document.load(self._start)
        moved = await original(self, entries[:1])
        return moved and 1

    return [(Follower, "_handle", handle)]


@mutant("log")
def the_cursor_is_moved_wherever_it_is() -> list[Change]:
    return [
        rewritten(
            CursorDocument,
            "move_in",
            "transaction._staging.change_verified(self._write(fields))",
            "transaction._staging.add(self._write(fields))",
        ),
        (following.Transaction, "_verify", _verify_all_but_cursors()),
    ]


def _verify_all_but_cursors() -> Any:
    original = following.Transaction._verify

    def verify(self: Any, name: str, version: Any) -> None:
        if "_cursors/" not in name:
            original(self, name, version)

    return verify


@mutant("log")
def a_follower_goes_on_from_what_it_remembers() -> list[Change]:
    """The mistake that was there once: the cursor is looked up, and what was read before is taken to lie at it."""
    return [
        rewritten(Follower, "run", " and page[done].id == self._cursor.position", ""),
    ]


@mutant("log")
def an_entry_whose_handler_fails_is_left_out() -> list[Change]:
    return [rewritten(Follower, "_handle", "failure = error\n                break", "pass")]


@mutant("log")
def what_a_failing_handler_wrote_stays() -> list[Change]:
    return [rewritten(Follower, "_handle", "take_back()\n", "pass\n")]


@mutant("log")
def a_follower_ends_when_its_stream_is_cut() -> list[Change]:
    return [rewritten(_Listener, "_listen", "self._changed.set()", "self._changed.set()\n            break")]


@mutant("log")
def a_follower_misses_what_comes_while_it_works() -> list[Change]:
    return [
        rewritten(
            _Listener,
            "beyond",
            "while self._next[track] <= position:",
            "self._next[track] = 0 if self._next[track] <= position + 1 else self._next[track]\n"
            "    while self._next[track] <= position:",
        )
    ]


@mutant("log")
def a_follower_passes_over_what_was_trimmed() -> list[Change]:
    return [
        rewritten(
            Reader,
            "following",
            "if page.entries and page.entries[0][0] != position:",
            "if False:",
        )
    ]


# Reading ----------------------------------------------------------------------------------------------------


@mutant("log")
def a_read_begins_wherever_there_is_something() -> list[Change]:
    return [
        rewritten(
            Reader,
            "read",
            "                raise self._trimmed(position, entry_id)\n",
            "                position = entry_id\n",
        )
    ]


@mutant("log")
def a_segment_is_read_in_the_order_of_its_keys() -> list[Change]:
    return [
        rewritten(
            Page, "__init__", "sorted(segment.entries.items())", "sorted(segment.entries.items(), key=str)"
        )
    ]


# Trimming ---------------------------------------------------------------------------------------------------


@mutant("log")
def a_segment_is_trimmed_without_the_version_check() -> list[Change]:
    return [
        rewritten(
            segments,
            "removal",
            "unchanged = protos.Precondition(update_time=segment.version)",
            "unchanged = None",
        )
    ]


@mutant("log")
def trimming_ignores_the_cursors() -> list[Change]:
    return [rewritten(event_log, "trim", "if respect_cursors:", "if False:")]


@mutant("log")
def trimming_goes_one_too_far() -> list[Change]:
    return [rewritten(event_log, "trim", "- min_id_age + 1", "- min_id_age + 2")]


@mutant("log")
def trimming_goes_by_the_age_of_ids_alone() -> list[Change]:
    return [(trimming, "_long_before", lambda at, age: at)]


@mutant("log")
def trimming_goes_by_the_trimmers_clock() -> list[Change]:
    return [
        rewritten(
            event_log,
            "trim",
            "_long_before(page.read_time, min_age)",
            "_long_before(box._clock.now(), min_age)",
        )
    ]


@mutant("log")
def trimming_takes_whole_segments() -> list[Change]:
    return [
        rewritten(
            trimming,
            "_removable",
            "            return position\n",
            "            return len(ids) if position else 0\n",
        )
    ]


@mutant("log")
def trimming_leaves_the_last_segment() -> list[Change]:
    return [
        rewritten(trimming, "plan", "for segment in page.segments:", "for segment in page.segments[:-1]:")
    ]
