"""The cost table of the design, row by row: RPCs, sequential round trips, reads, writes and deletes."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import Event, EventBox, Mutation, NewEvent, Recipient, Transaction, Transition
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.support import Deciding, InTransaction, Recording, consume_all, writes

ROUND_TRIP = timedelta(seconds=1)


@dataclass(frozen=True)
class Cost:
    """What something cost, as counted at the wire."""

    round_trips: int
    rpcs: int
    reads: int
    writes_and_deletes: int


class Meter:
    """Every RPC takes a second of the clock, so the seconds that something takes are its sequential round trips."""

    def __init__(self, emulator: Emulator, clock: ManualClock) -> None:
        self._emulator = emulator
        self._clock = clock

    async def __call__(self, awaitable: Awaitable[Any]) -> Cost:
        fault = self._emulator.faults.add(Fault(latency=ROUND_TRIP, times=None))
        counts, began = self._emulator.counts, self._clock.monotonic()
        counts.reset()
        await while_advancing(self._clock, awaitable)
        fault.remove()
        round_trips = round((self._clock.monotonic() - began) / ROUND_TRIP.total_seconds())
        return Cost(round_trips, sum(counts.rpcs.values()), counts.reads, counts.writes + counts.deletes)


@pytest.fixture
def meter(emulator: Emulator, clock: ManualClock) -> Meter:
    return Meter(emulator, clock)


@pytest.fixture
def box(local_client: AsyncClient, clock: ManualClock) -> EventBox:
    return EventBox(local_client, clock=clock)


@pytest.fixture
def to(local_client: AsyncClient) -> Recipient:
    return Recipient(local_client.document("orders/1"), "order")


async def test_emit(box: EventBox, to: Recipient, meter: Meter) -> None:
    assert await meter(box.emit(b"", to, id="x")) == Cost(1, 1, 0, 1)


async def test_emit_of_a_duplicate(box: EventBox, to: Recipient, meter: Meter) -> None:
    await box.emit(b"", to, id="x")
    assert await meter(box.emit(b"", to, id="x")) == Cost(2, 2, 1, 0)
    await box.process_batch(to, Recording(to))
    assert await meter(box.emit(b"", to, id="x")) == Cost(2, 2, 1, 0)


@pytest.mark.parametrize("n", [1, 2, 500])
async def test_emit_many(box: EventBox, to: Recipient, meter: Meter, n: int) -> None:
    assert await meter(box.emit_many([NewEvent(b"") for _ in range(n)], to)) == Cost(1, 1, 0, n)


async def test_emit_in_a_transaction(box: EventBox, to: Recipient, meter: Meter) -> None:
    async def body(transaction: Transaction) -> None:
        await box.emit(b"", to, id="x", transaction=transaction)

    assert await meter(box.run_in_transaction(body)) == Cost(1, 1, 0, 1)


@pytest.mark.parametrize("n", [1, 10, 300])
@pytest.mark.parametrize("exists", [False, True])
async def test_process_batch_of_a_document_processor(
    box: EventBox, to: Recipient, meter: Meter, n: int, exists: bool
) -> None:
    if exists:
        await to.ref.set({"applied": []})
    await box.emit_many([NewEvent(b"") for _ in range(n)], to)
    assert await meter(box.process_batch(to, Recording(to))) == Cost(2, 3, n + 1, n + 1)


async def test_process_batch_that_leaves_the_state_as_it_is(
    box: EventBox, to: Recipient, meter: Meter
) -> None:
    await to.ref.set({"n": 1})
    await box.emit_many([NewEvent(b"") for _ in range(5)], to)
    processor = Deciding(to, lambda events, state: Mutation([Transition(state, events=events)]))
    assert await meter(box.process_batch(to, processor)) == Cost(2, 3, 6, 6)


async def test_process_batch_that_leaves_the_document_absent_reads_it_in_the_transaction(
    box: EventBox, to: Recipient, meter: Meter
) -> None:
    await box.emit_many([NewEvent(b"") for _ in range(5)], to)
    processor = Deciding(to, lambda events, state: Mutation([Transition(state, events=events)]))
    assert await meter(box.process_batch(to, processor)) == Cost(2 + 1, 3 + 1, 6 + 1, 5)


async def test_process_batch_of_any_processor(box: EventBox, to: Recipient, meter: Meter) -> None:
    await box.emit_many([NewEvent(b"") for _ in range(5)], to)
    # its own: a load (1 RPC, 1 read), the version in the transaction (1 read), and the state (1 write)
    assert await meter(box.process_batch(to, InTransaction(to, consume_all(1)))) == Cost(
        3, 3 + 1, 5 + 2, 5 + 1
    )


async def test_an_empty_batch(box: EventBox, to: Recipient, meter: Meter) -> None:
    assert await meter(box.process_batch(to, Recording(to))) == Cost(1, 2, 1 + 1, 0)


async def test_garbage_besides(box: EventBox, to: Recipient, meter: Meter) -> None:
    await box.emit_many([NewEvent(b"") for _ in range(5)], to)

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        return Mutation([Transition({"n": 1}, events=events[2:])], garbage=events[:2])

    assert await meter(box.process_batch(to, Deciding(to, decide))) == Cost(2 + 1, 3 + 1, 6, (3 + 1) + 2)


async def test_a_side_effect_that_reads_besides(
    box: EventBox, to: Recipient, meter: Meter, local_client: AsyncClient
) -> None:
    await box.emit_many([NewEvent(b"") for _ in range(5)], to)

    async def read(transaction: Transaction) -> None:
        await local_client.document("other/1").get(transaction=transaction)

    assert await meter(box.process_batch(to, Deciding(to, consume_all({"n": 1}, side_effect=read)))) == Cost(
        2 + 1, 3 + 1, 6 + 1, 6
    )


async def test_a_side_effect_that_writes_costs_its_writes_alone(
    box: EventBox, to: Recipient, meter: Meter
) -> None:
    await box.emit(b"", to)
    processor = Deciding(to, consume_all({"n": 1}, side_effect=writes("other/1", {})))
    assert await meter(box.process_batch(to, processor)) == Cost(2, 3, 2, 2 + 1)


async def test_a_side_effect_that_writes_to_the_state_document_costs_no_verification(
    box: EventBox, to: Recipient, meter: Meter
) -> None:
    await box.emit(b"", to)

    async def touch(transaction: Transaction) -> None:
        transaction.set(to.ref, {"seen": True}, merge=True)

    processor = Deciding(
        to, lambda events, state: Mutation([Transition(state, events=events, side_effect=touch)])
    )
    assert await meter(box.process_batch(to, processor)) == Cost(2, 3, 2, 2)


async def test_a_batch_that_fails_its_version_check_writes_nothing(
    box: EventBox, to: Recipient, meter: Meter, emulator: Emulator
) -> None:
    await box.emit(b"", to)
    processor = InTransaction(to, consume_all(1))

    async def load_state() -> tuple[Any, int]:
        return 0, 7

    processor.load_state = load_state  # type: ignore[method-assign]

    async def lose() -> None:
        with pytest.raises(Exception, match="its eversion was 7"):
            await box.process_batch(to, processor)

    cost = await meter(lose())
    assert cost.writes_and_deletes == 0
    assert emulator.counts.rpcs["Rollback"] == 1


@pytest.mark.parametrize(("n", "size"), [(500, 16_777), (64, 131_072), (8, 1_000_000)])
@pytest.mark.parametrize("share_emits", [False, True])
async def test_emit_many_of_8_mib(
    local_client: AsyncClient, clock: ManualClock, to: Recipient, meter: Meter, n: int, size: int, share_emits: bool,
) -> None:  # fmt: skip
    box = EventBox(local_client, clock=clock, share_emits=share_emits)
    events = [NewEvent(bytes(size)) for _ in range(n)]
    assert await meter(box.emit_many(events, to)) == Cost(1, 1, 0, n)
