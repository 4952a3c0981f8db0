"""`SkipTransition`: a batch that ends before its last transition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from eventbox import (
    Event,
    EventBox,
    Mutation,
    Recipient,
    SkipTransition,
    Transaction,
    TransactionEndedError,
    Transition,
)
from tests.eventbox.support import Deciding, consume_all, document, emit, outstanding, writes


async def test_a_skip_ends_the_batch_there_and_takes_back_what_was_written(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, "a", "b", "c")
    committed: list[str] = []

    async def skip(transaction: Transaction) -> None:
        transaction.set(client.document("log/skipped"), {})
        transaction.on_commit(lambda: committed.append("skipped"))
        raise SkipTransition

    async def post_process() -> None: ...

    async def register(transaction: Transaction) -> None:
        transaction.on_commit(lambda: committed.append("first"))

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        by_id = {event.id: event for event in events}
        return Mutation(
            [
                Transition({"n": 1}, events=[by_id["a"]], side_effect=register, post_process=post_process),
                Transition({"n": 2}, events=[by_id["b"]], side_effect=skip, post_process=post_process),
                Transition({"n": 3}, events=[by_id["c"]], side_effect=writes("log/after", {})),
            ]
        )

    assert await box.process_batch(to, Deciding(to, decide)) == [post_process]
    assert await outstanding(box, to) == {"b", "c"}
    stored = await document(client, "orders/1")
    assert stored is not None
    assert (stored["n"], stored["eventbox_eversion"]) == (1, 1)
    assert await document(client, "log/skipped") is None
    assert await document(client, "log/after") is None
    assert committed == ["first"]


async def test_a_skip_of_the_first_transition_changes_nothing(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, "a")

    async def skip(transaction: Transaction) -> None:
        await client.document("orders/1").get(transaction=transaction)
        raise SkipTransition

    assert await box.process_batch(to, Deciding(to, consume_all({"n": 1}, side_effect=skip))) == []
    assert await outstanding(box, to) == {"a"}
    assert await document(client, "orders/1") is None


async def test_a_state_changed_in_place_together_with_a_skip_is_an_error_and_changes_nothing(
    box: EventBox, to: Recipient
) -> None:
    await emit(box, to, "a", "b")

    async def skip(transaction: Transaction) -> None:
        raise SkipTransition

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        state["n"] = state.get("n", 0) + 1
        return Mutation(
            [Transition(state, events=events[:1]), Transition(state, events=events[1:], side_effect=skip)]
        )

    with pytest.raises(ValueError, match="changed the loaded state in place"):
        await box.process_batch(to, Deciding(to, decide))
    assert await outstanding(box, to) == {"a", "b"}


async def test_a_side_effect_that_rolls_back_the_transaction_ends_the_batch(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, "a")

    async def roll_back(transaction: Transaction) -> None:
        transaction.set(client.document("log/written"), {})
        await transaction._rollback()  # as google's own decorators do

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        return Mutation([Transition({"n": 1}, events=events, side_effect=roll_back)])

    with pytest.raises(TransactionEndedError, match="rolled back"):
        await box.process_batch(to, Deciding(to, decide))
    assert await outstanding(box, to) == {"a"}
    assert await document(client, "log/written") is None


async def test_what_was_rolled_back_is_not_committed(box: EventBox, client: AsyncClient) -> None:
    async def body(transaction: Transaction) -> None:
        transaction.set(client.document("log/written"), {})
        await transaction._rollback()

    with pytest.raises(TransactionEndedError, match="rolled back"):
        await box.run_in_transaction(body)
    assert await document(client, "log/written") is None
