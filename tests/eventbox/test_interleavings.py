"""The exact interleavings that catch the straightforward way, replayed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from eventbox import ContentionError, Event, EventBox, Mutation, Recipient, Transaction, Transition
from tests.eventbox.support import Deciding, InTransaction, Record, Recording, consume_all


async def test_an_event_that_was_listed_before_and_a_state_that_was_loaded_after_its_consumption(
    box: EventBox, to: Recipient
) -> None:
    """List sees the event; a rival commits version 1 and consumes it; load returns version 1: the versions match."""
    await box.emit(b"", to, id="x")
    rival = Recording(to)

    class LoadsLate(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
            await box.process_batch(to, rival)
            state, _ = await self.load_state()  # as if it had been loaded only now
            return Mutation([Transition(Record([*state.applied, *(e.id for e in events)]), events=events)])

        async def fetch_eversion(self, transaction: Transaction) -> int:
            await super().fetch_eversion(transaction)
            return 0  # what the core was told before: the version check alone would pass

    with pytest.raises(ContentionError):
        await box.process_batch(to, LoadsLate(to))
    state, eversion = await rival.load_state()
    assert (state.applied, eversion) == (["x"], 1)


async def test_the_same_for_a_processor_whose_version_check_passes_in_the_transaction(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await box.emit(b"", to, id="x")
    add = lambda events, n: Mutation([Transition(n + len(events), events=events)])  # noqa: E731

    class ListsEarly(InTransaction):
        async def load_state(self) -> tuple[Any, int]:
            # the batch's listing, which runs beside this, has seen the event when the rival consumes it
            while not listed:
                await listing_done()
            await box.process_batch(to, InTransaction(to, add))
            return await super().load_state()

    listed: list[bool] = []

    async def listing_done() -> None:
        # let the listing that runs beside us finish: a read of ours, sent after it, returns after it
        for _ in range(3):
            await client.document("nothing/here").get()
        listed.append(True)

    with pytest.raises(ContentionError):
        await box.process_batch(to, ListsEarly(to, add))
    snapshot = await client.document("orders/1/states/state").get()
    assert snapshot.to_dict() == {"n": 1, "eversion": 1}


@pytest.mark.parametrize("processor_type", [Deciding, InTransaction])
async def test_two_batches_that_leave_the_state_as_it_is_do_not_both_run_their_side_effects(
    box: EventBox, to: Recipient, client: AsyncClient, processor_type: Any
) -> None:
    await box.emit(b"", to, id="x")

    def decide(name: str, before: Any = None) -> Any:
        async def side_effect(transaction: Transaction) -> None:
            if before is not None:
                await before()
            transaction.set(client.document(f"mails/{name}"), {})

        return lambda events, state: Mutation([Transition(state, events=events, side_effect=side_effect)])

    async def rival() -> None:
        await box.process_batch(to, processor_type(to, decide("rival")))

    with pytest.raises(ContentionError):
        await box.process_batch(to, processor_type(to, decide("late", rival)))
    assert [ref.id async for ref in client.collection("mails").list_documents()] == ["rival"]


async def test_a_batch_that_decided_on_an_old_state_does_not_commit_even_if_it_saves_none(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await box.emit(b"", to, id="a")
    await box.emit(b"", to, id="b")

    async def rival(transaction: Transaction) -> None:
        def only_b(events: Sequence[Event], _: Any) -> Mutation[Any]:
            return Mutation([Transition({"closed": True}, events=[e for e in events if e.id == "b"])])

        await box.process_batch(to, Deciding(to, only_b))

    def only_a(events: Sequence[Event], state: Any) -> Mutation[Any]:
        return Mutation([Transition(state, events=[e for e in events if e.id == "a"], side_effect=rival)])

    with pytest.raises(ContentionError):
        await box.process_batch(to, Deciding(to, only_a))
    assert [event.id for event in await box.list_events(to)] == ["a"]


async def test_a_batch_that_decided_on_a_missing_document_does_not_commit_once_there_is_one(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await box.emit(b"", to, id="a")

    async def appears(transaction: Transaction) -> None:
        await client.document("orders/1").set({"closed": True})

    with pytest.raises(ContentionError):
        await box.process_batch(
            to, Deciding(to, lambda events, s: Mutation([Transition(s, events=events, side_effect=appears)]))
        )
    with pytest.raises(ContentionError):
        await client.document("orders/1").delete()
        await box.process_batch(to, Deciding(to, consume_all({"n": 1}, side_effect=appears)))
    assert [event.id for event in await box.list_events(to)] == ["a"]


async def test_a_processor_that_serves_two_batches_at_once_does_not_mix_what_they_loaded(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    """A loads; the application changes the document; B loads by the same processor; A decided on what it had loaded."""
    await client.document("orders/1").set({"n": 0})
    await box.emit(b"", to, id="a")
    loads: list[int] = []

    class Shared(Deciding):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Mutation[Any]:
            loads.append(state["n"])
            if len(loads) == 1:
                await client.document("orders/1").set({"n": 100})  # and the eversion is the same
                # a task of its own has a batch of its own, as a second request has
                await asyncio.create_task(box.process_batch(to, self))
                return Mutation([Transition({"n": state["n"] + 1}, events=events)])
            return Mutation()

    with pytest.raises(ContentionError):
        await box.process_batch(to, Shared(to, lambda *_: Mutation()))
    assert loads == [0, 100]
    assert (await client.document("orders/1").get()).to_dict() == {"n": 100}
