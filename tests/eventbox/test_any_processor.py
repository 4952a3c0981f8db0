"""Processors that implement the protocol by themselves: their states are compared by identity alone."""

from __future__ import annotations

from google.cloud.firestore import AsyncClient

from eventbox import EventBox, Mutation, Recipient, Transition
from tests.eventbox.support import InTransaction, document, emit, outstanding


async def test_any_processor_may_keep_its_state_where_it_wants(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    for n in (1, 2):
        await emit(box, to, str(n))
        await box.process_batch(
            to,
            InTransaction(
                to, lambda events, state: Mutation([Transition(state + len(events), events=events)])
            ),
        )
        assert await document(client, "orders/1/states/state") == {"n": n, "eversion": n}
    assert await outstanding(box, to) == set()


async def test_a_state_object_that_is_the_loaded_one_is_not_saved(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, "a")
    await box.process_batch(
        to, InTransaction(to, lambda events, state: Mutation([Transition(state, events=events)]))
    )
    assert await outstanding(box, to) == set()
    assert await document(client, "orders/1/states/state") is None


async def test_a_second_transition_that_changes_the_state_alone_is_saved(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, "a")
    await box.process_batch(
        to,
        InTransaction(to, lambda events, state: Mutation([Transition(1, events=events), Transition(2)])),
    )
    assert await outstanding(box, to) == set()
    assert await document(client, "orders/1/states/state") == {"n": 2, "eversion": 1}
