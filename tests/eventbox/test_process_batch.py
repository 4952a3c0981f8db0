"""A batch, step by step: what is called, what is committed, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from google.api_core.exceptions import AlreadyExists, FailedPrecondition, NotFound
from google.cloud.firestore import AsyncClient, FieldFilter

from eventbox import (
    ContentionError,
    DocumentProcessor,
    Event,
    EventBox,
    Mutation,
    NewEvent,
    PrepareError,
    Recipient,
    Transaction,
    Transition,
    chain,
)
from tests.eventbox.support import (
    Deciding,
    InTransaction,
    Recording,
    consume_all,
    document,
    emit,
    outstanding,
    writes,
)


async def test_state_is_saved_events_are_consumed_and_the_eversion_rises_by_one(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    processor = Recording(to)
    for n, event_id in enumerate(["a", "b"], 1):
        await emit(box, to, event_id)
        assert await box.process_batch(to, processor) == []
        stored = await document(client, "orders/1")
        assert stored is not None
        assert (stored["applied"][-1], stored["eventbox_eversion"]) == (event_id, n)
    assert await outstanding(box, to) == set()


async def test_prepare_mutation_is_called_once_also_without_events(box: EventBox, to: Recipient) -> None:
    processor = Recording(to)
    assert await box.process_batch(to, processor) == []
    assert processor.batches == [()]


async def test_events_that_no_transition_names_stay_outstanding(box: EventBox, to: Recipient) -> None:
    await emit(box, to, "a", "b")
    await box.process_batch(
        to,
        Deciding(to, lambda events, _: Mutation([Transition({}, events=[e for e in events if e.id == "a"])])),
    )
    assert await outstanding(box, to) == {"b"}


async def test_a_batch_takes_at_most_max_events_and_max_bytes(box: EventBox, to: Recipient) -> None:
    await box.emit_many([NewEvent(b"x" * 1_000) for _ in range(10)], to)
    processor = Recording(to)
    await box.process_batch(to, processor, max_events=3)
    await box.process_batch(to, processor, max_bytes=2_500)
    await box.process_batch(to, processor, max_bytes=1)  # the first comes whatever its size
    assert [len(batch) for batch in processor.batches] == [3, 2, 1]


async def test_side_effects_run_in_order_and_are_part_of_the_commit(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, "a")

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        return Mutation(
            [
                Transition(
                    {"n": 1}, side_effect=chain(None, writes("log/1", {"by": 1}), writes("log/2", {"by": 1}))
                ),
                Transition({"n": 2}, events=events, side_effect=writes("log/2", {"by": 2})),
            ]
        )

    await box.process_batch(to, Deciding(to, decide))
    assert await document(client, "log/1") == {"by": 1}
    assert await document(client, "log/2") == {"by": 2}
    stored = await document(client, "orders/1")
    assert stored is not None
    assert (stored["n"], stored["eventbox_eversion"]) == (2, 1)


async def test_post_process_callbacks_come_back_in_order_and_have_not_run(
    box: EventBox, to: Recipient
) -> None:
    called = []

    def callback(name: str) -> Any:
        async def call() -> None:
            called.append(name)

        return call

    transitions = [
        Transition({"n": 1}, post_process=callback("first")),
        Transition({"n": 2}),
        Transition({"n": 2}, post_process=callback("second")),
    ]
    callbacks = await box.process_batch(to, Deciding(to, lambda *_: Mutation(transitions)))
    assert called == []
    for one in callbacks:
        await one()
    assert called == ["first", "second"]


async def test_a_side_effect_that_fails_undoes_the_batch(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, "a")

    async def fail(transaction: Transaction) -> None:
        transaction.set(client.document("log/1"), {})
        raise LookupError("no such order")

    with pytest.raises(LookupError, match="no such order"):
        await box.process_batch(to, Deciding(to, consume_all({"n": 1}, side_effect=fail)))
    assert await outstanding(box, to) == {"a"}
    assert await document(client, "orders/1") is None
    assert await document(client, "log/1") is None


async def test_a_prepare_mutation_that_fails_changes_nothing(box: EventBox, to: Recipient) -> None:
    await emit(box, to, "a")

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await box.process_batch(to, Deciding(to, decide))
    assert await outstanding(box, to) == {"a"}


async def test_garbage_is_deleted_also_when_the_transaction_fails(box: EventBox, to: Recipient) -> None:
    await emit(box, to, "good", "bad")

    async def fail(transaction: Transaction) -> None:
        raise RuntimeError

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        by_id = {event.id: event for event in events}
        return Mutation([Transition({}, events=[by_id["good"]], side_effect=fail)], garbage=[by_id["bad"]])

    with pytest.raises(RuntimeError):
        await box.process_batch(to, Deciding(to, decide))
    assert await outstanding(box, to) == {"good"}
    assert (await box.emit(b"", to, id="bad")).duplicate is True


async def test_garbage_alone_needs_no_transaction(box: EventBox, to: Recipient, client: AsyncClient) -> None:
    await emit(box, to, "a")
    await box.process_batch(to, Deciding(to, lambda events, _: Mutation(garbage=events)))
    assert await outstanding(box, to) == set()
    assert await document(client, "orders/1") is None


async def test_a_prepare_error_deletes_its_garbage_and_raises_its_cause(box: EventBox, to: Recipient) -> None:
    await emit(box, to, "a", "b")

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        garbage = [event for event in events if event.id == "a"]
        raise PrepareError(garbage=garbage) from KeyError("the cause")

    with pytest.raises(KeyError, match="the cause"):
        await box.process_batch(to, Deciding(to, decide))
    assert await outstanding(box, to) == {"b"}


async def test_a_prepare_error_without_a_cause_is_raised_itself(box: EventBox, to: Recipient) -> None:
    await emit(box, to, "a")

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        raise PrepareError("cannot decide", garbage=events)

    with pytest.raises(PrepareError, match="cannot decide"):
        await box.process_batch(to, Deciding(to, decide))
    assert await outstanding(box, to) == set()


async def test_a_batch_that_changes_nothing_opens_no_transaction(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await box.process_batch(to, Deciding(to, lambda _, state: Mutation([Transition(state)])))
    await box.process_batch(to, Deciding(to, lambda _, state: Mutation([Transition(dict(state))])))
    assert await document(client, "orders/1") is None


async def test_a_side_effect_may_emit_to_others_and_to_its_own_recipient(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    other = Recipient(client.document("orders/2"), "order")
    await emit(box, to, "a")

    async def forward(transaction: Transaction) -> None:
        await box.emit(b"", other, id="forwarded", transaction=transaction)
        await box.emit(b"", to, id="again", transaction=transaction)
        await box.emit(b"", to, id="a", transaction=transaction)  # consumed by this very transition

    await box.process_batch(to, Deciding(to, consume_all({"n": 1}, side_effect=forward)))
    assert await outstanding(box, other) == {"forwarded"}
    assert await outstanding(box, to) == {"again"}


async def test_a_side_effect_may_read_at_any_time_and_never_sees_its_own_writes(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, "a")
    await client.document("log/1").set({"n": 1})
    seen = []

    async def read_write_read(transaction: Transaction) -> None:
        ref = client.document("log/1")
        seen.append((await ref.get(transaction=transaction)).get("n"))
        transaction.update(ref, {"n": 2})
        seen.append((await transaction.get(ref)).get("n"))
        query = client.collection("log").where(filter=FieldFilter("n", "==", 1))
        seen.extend([snapshot.get("n") async for snapshot in query.stream(transaction=transaction)])

    await box.process_batch(to, Deciding(to, consume_all({"n": 1}, side_effect=read_write_read)))
    assert seen == [1, 1, 1]
    assert await document(client, "log/1") == {"n": 2}
    assert await outstanding(box, to) == set()


@pytest.mark.parametrize("processor_type", [Deciding, InTransaction])
async def test_a_failed_precondition_of_the_side_effects_own_is_raised_as_google_raises_it(
    box: EventBox, to: Recipient, client: AsyncClient, processor_type: Any
) -> None:
    await emit(box, to, "a")
    await client.document("log/there").set({})

    async def create(transaction: Transaction) -> None:
        transaction.create(client.document("log/there"), {})

    async def update(transaction: Transaction) -> None:
        transaction.update(client.document("log/missing"), {"n": 1})

    async def stale(transaction: Transaction) -> None:
        long_ago = client.write_option(last_update_time=before)
        transaction.delete(client.document("log/there"), option=long_ago)

    before = (await client.document("log/there").get()).update_time
    await client.document("log/there").set({"n": 2})
    for side_effect, error in [(create, AlreadyExists), (update, NotFound), (stale, FailedPrecondition)]:
        with pytest.raises(error):
            await box.process_batch(
                to,
                processor_type(
                    to,
                    consume_all(1 if processor_type is InTransaction else {"n": 1}, side_effect=side_effect),
                ),
            )
    assert await outstanding(box, to) == {"a"}


@pytest.mark.parametrize("processor_type", [Deciding, InTransaction])
async def test_a_lost_race_is_contention_even_where_the_side_effect_has_preconditions_of_its_own(
    box: EventBox, to: Recipient, client: AsyncClient, processor_type: Any
) -> None:
    await emit(box, to, "a")
    await client.document("log/there").set({})
    state: Any = 1 if processor_type is InTransaction else {"n": 1}

    async def update(transaction: Transaction) -> None:
        if not rivals:
            rivals.append(1)
            await box.process_batch(to, processor_type(to, consume_all(state)))
        transaction.update(client.document("log/there"), {"n": 1})

    rivals: list[int] = []
    with pytest.raises(ContentionError):
        await box.process_batch(to, processor_type(to, consume_all(state, side_effect=update)))
    assert await document(client, "log/there") == {}


async def test_a_mutation_that_is_none_is_an_error_and_nothing_is_lost(box: EventBox, to: Recipient) -> None:
    await emit(box, to, "a")
    with pytest.raises(TypeError, match=r"Deciding\.prepare_mutation must return a Mutation"):
        await box.process_batch(to, Deciding(to, lambda *_: None))  # type: ignore[arg-type, return-value]
    assert await outstanding(box, to) == {"a"}


async def test_a_prepare_mutation_that_is_not_asynchronous_is_told_so(box: EventBox, to: Recipient) -> None:
    class Plain(Deciding):
        def prepare_mutation(self, events: Any, state: Any) -> Any:
            return Mutation()

    with pytest.raises(TypeError, match=r"Plain\.prepare_mutation must be asynchronous \(async def\)"):
        await box.process_batch(to, Plain(to, lambda *_: Mutation()))


async def test_an_event_that_is_not_from_the_batch_is_an_error_before_garbage_is_deleted(
    box: EventBox, to: Recipient
) -> None:
    await emit(box, to, "a")

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        stranger = Event("stranger", b"", events[0].emitted_at)
        return Mutation([Transition({}, events=[stranger])], garbage=events)

    with pytest.raises(ValueError, match="'stranger'"):
        await box.process_batch(to, Deciding(to, decide))
    assert await outstanding(box, to) == {"a"}


async def test_a_processor_without_prepare_mutation_says_what_is_missing(
    box: EventBox, to: Recipient
) -> None:
    class Forgetful(DocumentProcessor[dict[str, Any]]):
        pass

    with pytest.raises(NotImplementedError, match="Forgetful must define prepare_mutation"):
        await box.process_batch(to, Forgetful(to, dict))
    with pytest.raises(TypeError, match="object is no Processor: it lacks load_state"):
        await box.process_batch(to, object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Forgetful is a class"):
        await box.process_batch(to, Forgetful)  # type: ignore[arg-type]


async def test_a_side_effect_may_create_the_recipients_own_document_where_there_is_none(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    async def create(transaction: Transaction) -> None:
        transaction.create(to.ref, {"made": True})

    for event_id, state in [("a", {}), ("b", {"n": 1})]:
        await emit(box, to, event_id)
        await box.process_batch(to, Deciding(to, consume_all(state, side_effect=create)))
        stored = await document(client, "orders/1")
        assert stored is not None
        assert (stored["made"], stored.get("n")) == (True, state.get("n"))
        with pytest.raises(AlreadyExists):
            await emit(box, to, event_id + event_id)
            await box.process_batch(to, Deciding(to, consume_all(state, side_effect=create)))
        await to.ref.delete()
        await box.process_batch(to, Deciding(to, consume_all({})))
    assert await outstanding(box, to) == set()


@pytest.mark.parametrize("state", [{}, {"n": 1}])
async def test_a_side_effect_that_updates_the_recipients_own_document_needs_there_to_be_one(
    box: EventBox, to: Recipient, client: AsyncClient, state: Any
) -> None:
    await emit(box, to, "a")

    async def update(transaction: Transaction) -> None:
        transaction.update(to.ref, {"paid": True})

    with pytest.raises(NotFound):
        await box.process_batch(to, Deciding(to, consume_all(state, side_effect=update)))
    assert await document(client, "orders/1") is None
    assert await outstanding(box, to) == {"a"}

    async def appears(transaction: Transaction) -> None:
        transaction.update(to.ref, {"paid": True})
        await to.ref.set({"rival": True})

    with pytest.raises(ContentionError):
        await box.process_batch(to, Deciding(to, consume_all(state, side_effect=appears)))
    assert await document(client, "orders/1") == {"rival": True}
    assert await outstanding(box, to) == {"a"}
