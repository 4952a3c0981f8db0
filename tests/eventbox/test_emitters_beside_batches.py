"""Many emitters keep emitting to a recipient whose batches run all the time, on a pessimistic database.

Time is virtual: each RPC takes a round trip, and whatever waits for a lock takes longer. No emit does, no batch is
lost, and every event is consumed once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import chain
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import (
    DrainReport,
    Event,
    EventBox,
    Mutation,
    Processor,
    Recipient,
    SideEffectFn,
    Transaction,
    Transition,
)
from eventbox.testing import ManualClock
from eventbox.transaction import Concurrency
from tests.advancing import while_advancing
from tests.eventbox.support import Deciding, InTransaction

EMITTERS, EACH = 20, 5
ROUND_TRIP = timedelta(milliseconds=10)
INTERVAL = timedelta(milliseconds=45)  # out of step with the batches, so that emits come at all their stages

Consumed = list[list[str]]
"""The IDs of each batch that was committed."""

MakeProcessor = Callable[[Recipient, Consumed], Processor[Any]]


def document(recipient: Recipient, consumed: Consumed) -> Processor[Any]:
    return Deciding(recipient, consuming(consumed))


def reading(recipient: Recipient, consumed: Consumed) -> Processor[Any]:
    """Its side effects read the recipient's own document and another one in the transaction, and write both."""

    async def side_effect(transaction: Transaction) -> None:
        other = recipient.ref.parent.document("other")
        await transaction.get(recipient.ref)
        found = await transaction.get(other)
        transaction.set(other, {"n": (found.get("n") if found.exists else 0) + 1})

    return Deciding(recipient, consuming(consumed, side_effect))


def plain_kind(recipient: Recipient, consumed: Consumed) -> Processor[Any]:
    return InTransaction(recipient, consuming(consumed))


def consuming(consumed: Consumed, side_effect: SideEffectFn | None = None) -> Callable[..., Mutation[Any]]:
    """Decide to consume all events; once that has committed, their IDs are noted."""

    def decide(events: list[Event], state: Any) -> Mutation[Any]:
        async def committed() -> None:
            consumed.append([event.id for event in events])

        after = {"n": state.get("n", 0) + 1} if isinstance(state, dict) else state + 1
        transition = Transition(after, events=events, side_effect=side_effect, post_process=committed)
        return Mutation([transition] if events else [])

    return decide


async def by_batches(box: EventBox, recipient: Recipient, processor: Processor[Any]) -> None:
    for callback in await box.process_batch(recipient, processor, max_events=15):
        await callback()


async def by_drains(box: EventBox, recipient: Recipient, processor: Processor[Any]) -> None:
    report: DrainReport = await box.drain(recipient, processor, max_events=7)
    assert not report.contended


@pytest.mark.parametrize("work", [by_batches, by_drains])
@pytest.mark.parametrize(
    ("make", "shared"), [(document, False), (document, True), (reading, False), (plain_kind, False)]
)
@pytest.mark.parametrize("concurrency", ["optimistic", "pessimistic"])
async def test_no_emit_waits_and_no_batch_is_lost(
    concurrency: Concurrency,
    make: MakeProcessor,
    work: Callable[[EventBox, Recipient, Processor[Any]], Awaitable[None]],
    shared: bool,
    clock: ManualClock,
    emulator: Emulator,
    local_client: AsyncClient,
) -> None:
    box = EventBox(local_client, clock=clock, concurrency=concurrency, share_emits=shared)
    recipient, consumed = Recipient(local_client.document("orders/1"), "order"), Consumed()
    processor = make(recipient, consumed)
    emulator.faults.add(Fault(times=None, latency=ROUND_TRIP))
    took: list[float] = []

    async def emitter(number: int) -> None:
        await clock.sleep(INTERVAL * number / EMITTERS)
        for turn in range(EACH):
            began = clock.monotonic()
            receipt = await box.emit(b"", recipient, id=f"{number}-{turn}")
            assert not receipt.duplicate
            took.append(clock.monotonic() - began)
            await clock.sleep(INTERVAL)

    async def run() -> None:
        emitting = asyncio.gather(*map(emitter, range(EMITTERS)))
        while not emitting.done():
            await work(box, recipient, processor)  # a batch that is lost raises
        await emitting
        await by_drains(box, recipient, processor)

    await while_advancing(clock, run())
    # sharing, an emit may have to wait for one round trip of others
    most = ROUND_TRIP * (2 if shared else 1)
    assert len(took) == EMITTERS * EACH
    assert max(took) <= most.total_seconds() + 1e-9
    assert len(consumed) >= 5
    assert sorted(chain.from_iterable(consumed)) == sorted(
        f"{number}-{turn}" for number in range(EMITTERS) for turn in range(EACH)
    )
