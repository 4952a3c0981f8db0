"""What a transaction knows of its commit, and what is done together after it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud.firestore import AsyncClient

from dsset import protos
from emulator.firestore import Emulator, Fault
from eventbox import (
    EventBox,
    Mutation,
    Recipient,
    SkipTransition,
    Transaction,
    Transition,
    UnknownOutcomeError,
)
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.support import Deciding


@pytest.fixture
def box(local_client: AsyncClient, clock: ManualClock) -> EventBox:
    return EventBox(local_client, clock=clock)


async def test_the_commit_time_is_that_of_the_documents_it_wrote(
    box: EventBox, local_client: AsyncClient
) -> None:
    seen: list[Transaction] = []

    async def body(transaction: Transaction) -> None:
        assert transaction.commit_time is None
        transaction.set(local_client.document("orders/1"), {})
        transaction.on_commit(lambda: seen.append(transaction))

    await box.run_in_transaction(body)
    snapshot = await local_client.document("orders/1").get()
    assert seen[0].commit_time == snapshot.update_time


async def test_there_is_none_where_nothing_was_sent(box: EventBox) -> None:
    seen: list[Transaction] = []

    async def body(transaction: Transaction) -> None:
        seen.append(transaction)

    await box.run_in_transaction(body)
    assert seen[0].commit_time is None


async def test_what_is_gathered_for_one_function_is_handed_over_together(
    box: EventBox, local_client: AsyncClient
) -> None:
    done: list[Any] = []

    async def first(transaction: Transaction, items: list[Any]) -> None:
        done.append(items)
        raise RuntimeError("is logged")

    async def second(transaction: Transaction, items: list[Any]) -> None:
        done.append(items)

    async def body(transaction: Transaction) -> None:
        transaction._gather(first, 1)
        transaction.on_commit(lambda: done.append("callback"))
        transaction._gather(second, 2)
        transaction._gather(first, 3)

    await box.run_in_transaction(body)
    assert done == [[1, 3], "callback", [2]]


async def test_what_a_skipped_transition_gathered_is_not_handed_over(
    box: EventBox, local_client: AsyncClient
) -> None:
    done: list[Any] = []

    async def handle(transaction: Transaction, items: list[Any]) -> None:
        done.extend(items)

    def gathers(item: int, *, skips: bool) -> Any:
        async def side_effect(transaction: Transaction) -> None:
            transaction._gather(handle, item)
            if skips:
                raise SkipTransition

        return side_effect

    to = Recipient(local_client.document("orders/1"), "order")
    transitions = [
        Transition({"n": 1}, side_effect=gathers(1, skips=False)),
        Transition({"n": 2}, side_effect=gathers(2, skips=True)),
    ]
    await box.process_batch(to, Deciding(to, lambda *_: Mutation(transitions)))
    assert done == [1]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_document_that_the_commit_alone_can_make_tells_that_it_was_done(
    box: EventBox, local_client: AsyncClient, emulator: Emulator, clock: ManualClock, when: Any
) -> None:
    seen: list[Any] = []
    name = f"{local_client._database_string}/documents/notes/random"

    async def handle(transaction: Transaction, items: list[Any]) -> None:
        seen.append(transaction.commit_time)

    async def body(transaction: Transaction) -> None:
        write = protos.Write(update=protos.Document(name=name))
        transaction._add_write_pbs([protos.wrap_write(write)])
        transaction._gather(handle, 1, evidence=name)

    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when=when))
    began = clock.now()
    if when == "before":
        with pytest.raises(UnknownOutcomeError):
            await while_advancing(clock, box.run_in_transaction(body))
        assert seen == []
        assert clock.now() - began < timedelta(minutes=1)
        return
    await while_advancing(clock, box.run_in_transaction(body))
    snapshot = await local_client.document("notes/random").get()
    assert seen == [snapshot.create_time]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_it_tells_so_of_a_commit_refused_since_it_came_twice(
    box: EventBox, local_client: AsyncClient, emulator: Emulator, clock: ManualClock, when: Any
) -> None:
    seen: list[Any] = []
    ref = local_client.document("notes/random")

    async def handle(transaction: Transaction, items: list[Any]) -> None:
        seen.append(transaction.commit_time)

    async def body(transaction: Transaction) -> None:
        await ref.get(transaction=transaction)
        transaction.set(ref, {})
        transaction._gather(handle, 1, evidence=ref._document_path)

    emulator.faults.add(Fault(rpc="Commit", error="INVALID_ARGUMENT", when=when))
    running = box.run_in_transaction(body)
    if when == "before":
        with pytest.raises(InvalidArgument):
            await while_advancing(clock, running)
        assert seen == []
    else:
        await while_advancing(clock, running)
        assert seen == [(await ref.get()).create_time]
