"""`EventStore`: taken in once, marked in any order, and not taken in again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import PermissionDenied
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import EventBox, Transaction
from eventbox.sources import EventStore, StoredEvent, stored_event_id
from eventbox.testing import ManualClock
from tests.advancing import while_advancing

DAY = timedelta(days=1)
UNKNOWN = "0" * 64


@pytest.fixture
def store(client: AsyncClient) -> EventStore:
    return EventStore(client.document("sources/1"))


def on(client: AsyncClient, clock: ManualClock, **kwargs: Any) -> EventStore:
    return EventStore(client.document("sources/1"), clock=clock, **kwargs)


async def ids(events: Any) -> set[str]:
    return {event.id for event in await events}


async def test_an_event_is_stored_once_under_a_hash_of_what_it_says(store: EventStore) -> None:
    first = await store.store(b"\0\xff", "paid")
    assert first == await store.store(b"\0\xff", "paid") == stored_event_id(b"\0\xff", "paid")
    others = [await store.store(b"", "paid"), await store.store(b"\0\xff", "refunded")]
    others += [await store.store(b"b", "a"), await store.store(b"", "ab")]
    events = await store.get_events()
    assert [event.id for event in events] == [first, *others]  # in the order of their storing
    assert events[0] == StoredEvent(first, "paid", b"\0\xff", False, False)
    assert await store.get_event(first) == events[0]
    assert await store.get_event(UNKNOWN) is None
    assert await EventStore(store.ref.collection("x").document("y")).get_events() == []


async def test_many_that_store_the_same_at_once_store_it_once(store: EventStore) -> None:
    await asyncio.gather(*(store.store(b"x", "t") for _ in range(20)))
    assert len(await store.get_events()) == 1


async def test_marks_lead_from_new_to_broadcasted_to_received_and_never_back_from_there(
    store: EventStore,
) -> None:
    one, other = await store.store(b"1", "t"), await store.store(b"2", "t")
    for _ in range(2):
        await store.mark_broadcasted([one, one, other])
        assert await store.get_unreceived_events() == []
    await store.mark_rebroadcast([other])
    assert await ids(store.get_unreceived_events()) == {other}
    await store.mark_received(one)
    await store.mark_rebroadcast([one])
    assert await ids(store.get_unreceived_events()) == {other}
    await store.mark_received(other)
    assert await store.get_unreceived_events() == []
    assert [event.received for event in await store.get_events()] == [True, True]


@pytest.mark.parametrize("in_transaction", [True, False])
async def test_all_methods_are_harmless_to_repeat_and_pass_over_what_is_not_there(
    client: AsyncClient, store: EventStore, in_transaction: bool
) -> None:
    known = await store.store(b"1", "t")
    box = EventBox(client)
    missing = stored_event_id(b"later", "t")

    async def act(transaction: Transaction | None) -> None:
        for _ in range(2):
            await store.mark_broadcasted([known, missing, "no ID at all", ""], transaction=transaction)
            await store.mark_rebroadcast((missing,), transaction=transaction)
            await store.mark_received(missing, transaction=transaction)
            await store.delete_event(missing, transaction=transaction)
            await store.mark_broadcasted([], transaction=transaction)

    if in_transaction:
        await box.run_in_transaction(act)
    else:
        await act(None)
    assert await ids(store.get_events()) == {known}
    assert await store.get_unreceived_events() == []
    assert await store.get_event(missing) is None
    left = await store.ref.collection("eventbox_store").get()
    assert len(left) == (2 if in_transaction else 1)  # outside transactions nothing is left of it
    assert await store.store(b"later", "t") == missing  # a mark that came too early does not swallow it
    assert await ids(store.get_unreceived_events()) == {missing}


@pytest.mark.parametrize("in_transaction", [True, False])
async def test_a_deleted_event_is_not_taken_in_again_whatever_is_marked_later(
    client: AsyncClient, store: EventStore, in_transaction: bool
) -> None:
    event = await store.store(b"1", "t")
    await store.mark_received(event)
    box = EventBox(client)

    async def delete(transaction: Transaction | None) -> None:
        await store.delete_event(event, transaction=transaction)

    async def again(transaction: Transaction | None) -> None:
        assert await store.store(b"1", "t", transaction=transaction) == event

    if in_transaction:
        await box.run_in_transaction(delete)
        await box.run_in_transaction(again)
    else:
        await delete(None)
        await again(None)
    await store.mark_rebroadcast([event])
    await store.mark_broadcasted([event])
    await store.mark_rebroadcast([event])
    await again(None)
    assert await store.get_events() == []
    assert await store.get_unreceived_events() == []
    assert await store.get_event(event) is None


async def test_it_forgets_deleted_events_after_the_time_that_it_is_told(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    store = on(local_client, clock, remember=DAY)
    event = await store.store(b"1", "t")
    await store.mark_received(event)
    clock.advance(2 * DAY)
    await store.store(b"1", "t")
    assert (await store.get_events())[0].received  # what is held is not forgotten
    await store.delete_event(event)
    clock.advance(DAY - timedelta(seconds=1))
    await store.store(b"1", "t")
    assert await store.get_events() == []
    clock.advance(timedelta(seconds=1))
    for transaction in (False, True):
        if transaction:
            await EventBox(local_client).run_in_transaction(
                lambda txn: store.store(b"1", "t", transaction=txn)
            )
        else:
            await store.store(b"1", "t")
        assert await store.get_events() == [StoredEvent(event, "t", b"1")]
        await store.delete_event(event)
        clock.advance(DAY)


async def test_a_clock_that_lags_does_not_let_ttl_forget_a_deleted_event_early(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    slow = on(local_client, ManualClock(clock.now() - timedelta(hours=5)), remember=DAY)
    event = await slow.store(b"1", "t")
    await slow.delete_event(event)
    snapshot = await slow.ref.collection("eventbox_store").document(event).get()
    assert snapshot.get("expire_at") - snapshot.update_time >= DAY


async def test_deleted_events_expire_by_the_shipped_policy(clock: ManualClock) -> None:
    emulator = Emulator(
        clock=clock, indexes=Path(__file__).parents[3] / "firestore.indexes.json", enforce_indexes=True
    )
    client = emulator.client()
    for remember in (DAY, None):
        store = EventStore(client.document(f"sources/{remember}"), clock=clock, remember=remember)
        for n in range(3):
            await store.store(bytes([n]), "t")
        await store.mark_broadcasted([stored_event_id(b"\1", "t")])
        assert len(await store.get_events()) == 3
        assert len(await store.get_unreceived_events()) == 2
        assert [len(page) async for page in store.unreceived(broadcasted=True)] == [1]
        await store.delete_event([stored_event_id(bytes([n]), "t") for n in range(3)])
        await store.kv(b"a").set(b"b", b"c")
        assert [item.key async for item in store.kv(b"a").items()] == [b"b"]
        clock.advance(3 * DAY)
        left = await client.collection(f"sources/{remember}/eventbox_store").get()
        assert len(left) == (3 if remember is None else 0)


async def test_only_registered_types_are_taken(client: AsyncClient) -> None:
    store = EventStore(client.document("sources/1"), event_types=["paid"])
    with pytest.raises(ValueError, match=r"'refunded' is not registered.*\['paid'\]"):
        await store.store(b"", "refunded")
    await store.store(b"", "paid")
    with pytest.raises(ValueError):
        await EventStore(client.document("sources/1"), event_types=[]).store(b"", "paid")


async def test_what_was_voted_on_is_not_stored(client: AsyncClient) -> None:
    class Votes:
        async def is_processed(self, id: str) -> bool:
            return id == stored_event_id(b"done", "t")

    store = EventStore(client.document("sources/1"), votes=Votes())
    assert await store.store(b"done", "t") == stored_event_id(b"done", "t")
    await store.store(b"new", "t")
    assert [event.data for event in await store.get_events()] == [b"new"]


async def test_marks_and_deletions_are_part_of_the_transaction(
    client: AsyncClient, store: EventStore
) -> None:
    box = EventBox(client)
    marked, deleted = await store.store(b"1", "t"), await store.store(b"2", "t")

    async def act(transaction: Transaction) -> None:
        await store.mark_received(marked, transaction=transaction)
        await store.mark_broadcasted([marked], transaction=transaction)
        await store.delete_event(deleted, transaction=transaction)
        await store.store(b"3", "t", transaction=transaction)
        await store.kv(b"a").set(b"k", b"v", transaction=transaction)
        if fail:
            raise KeyError

    for fail in (True, False):
        if fail:
            with pytest.raises(KeyError):
                await box.run_in_transaction(act)
            assert await ids(store.get_unreceived_events()) == {marked, deleted}
        else:
            await box.run_in_transaction(act)
    events = await store.get_events()
    assert [(event.data, event.broadcasted, event.received) for event in events] == [
        (b"1", True, True),
        (b"3", False, False),
    ]
    assert await store.kv(b"a").get(b"k") == b"v"


async def test_costs_are_as_documented(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    store = on(local_client, clock)

    def spent() -> tuple[dict[str, int], int, int]:
        counts = dict(emulator.counts.rpcs), emulator.counts.reads, emulator.counts.writes
        emulator.counts.reset()
        return counts

    await store.store(b"0", "t")
    assert spent() == ({"Commit": 1}, 0, 1)
    await store.store(b"0", "t")
    assert spent() == ({"Commit": 1, "BatchGetDocuments": 1}, 1, 0)
    known = [await store.store(n.to_bytes(4, "big"), "t") for n in range(500)]
    spent()
    for mark in (store.mark_broadcasted, store.mark_rebroadcast, store.mark_received, store.delete_event):
        await mark(known)
        assert spent() == ({"BatchWrite": 1}, 0, 500)
    await store.mark_broadcasted(known * 2 + [UNKNOWN])
    assert spent()[0] == {"BatchWrite": 2}
    assert len(await store.get_unreceived_events()) == 1
    assert spent() == ({"RunQuery": 1}, 1, 0)  # nothing of what was received, or deleted
    await EventBox(local_client).run_in_transaction(lambda txn: store.mark_received(known, transaction=txn))
    assert spent() == ({"Commit": 1}, 0, 500)


async def test_pages_have_every_event_once(local_client: AsyncClient, clock: ManualClock) -> None:
    store = on(local_client, clock)
    known = {await store.store(bytes([n]), "t") for n in range(25)}
    pages = [page async for page in store.unreceived(page=10)]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert {event.id for page in pages for event in page} == known
    await store.mark_broadcasted(known)
    clock.advance(DAY)
    await store.mark_broadcasted([await store.store(b"new", "t")])
    old = [event.id async for page in store.unreceived(broadcasted=True, unchanged_for=DAY) for event in page]
    assert set(old) == known
    for page in (0, -1):
        with pytest.raises(ValueError, match="page"):
            store.unreceived(page=page)


@pytest.mark.parametrize("when", ["before", "after", "late", "twice"])
@pytest.mark.parametrize("error", ["UNAVAILABLE", "ABORTED"])
async def test_disturbances_change_nothing(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock, when: Any, error: str
) -> None:
    store = on(local_client, clock, remember=DAY)

    def disturb() -> None:
        latency = timedelta(milliseconds=80) if when == "late" else timedelta(0)
        told = None if when == "twice" else error
        emulator.faults.add(Fault(rpc="*", error=told, when=when, times=2, latency=latency))

    for n in range(5):
        disturb()
        event = await while_advancing(clock, store.store(bytes([n]), "t"))
        disturb()
        await while_advancing(clock, store.mark_broadcasted([event]))
        emulator.faults.clear()
        assert (await store.get_event(event)).broadcasted  # type: ignore[union-attr]
        disturb()
        await while_advancing(clock, store.delete_event(event))
        emulator.faults.clear()
        clock.advance(timedelta(seconds=1))
        await store.store(bytes([n]), "t")
        assert await store.get_events() == []


async def test_a_part_that_fails_is_written_again_and_a_refusal_is_raised(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    store = on(local_client, clock)
    event = await store.store(b"1", "t")
    emulator.faults.add(Fault(rpc="BatchWrite", error="PERMISSION_DENIED"))
    with pytest.raises(PermissionDenied):
        await store.mark_received(event)
    emulator.faults.add(Fault(rpc="Commit", error="PERMISSION_DENIED"))
    with pytest.raises(PermissionDenied):
        await store.store(b"2", "t")


async def test_bad_arguments_are_refused_before_anything_is_sent(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    ref = local_client.document("sources/1")
    for bad in ({"ref": "a/b"}, {"event_types": "paid"}, {"event_types": [1]}, {"votes": object()}):
        with pytest.raises(TypeError):
            EventStore(**{"ref": ref, **bad})  # type: ignore[arg-type]
    for remember in (timedelta(0), 1):
        with pytest.raises(ValueError, match="remember"):
            EventStore(ref, remember=remember)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="event type"):
        EventStore(ref, event_types=[""])
    store = on(local_client, clock)
    with pytest.raises(TypeError, match="data must be bytes"):
        await store.store("text", "t")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="900,000"):
        await store.store(b"x" * 900_001, "t")
    for event_type in ("", "x" * 257, "\ud800"):
        with pytest.raises(ValueError, match="event_type"):
            await store.store(b"", event_type)
    with pytest.raises(TypeError, match="ID of an event"):
        await store.mark_received(1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ID of an event"):
        await store.mark_broadcasted([b"x"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="transaction"):
        await store.mark_received(UNKNOWN, transaction="t")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the transaction is on"):
        await store.mark_received(UNKNOWN, transaction=emulator.client("other").transaction())
    assert not emulator.counts.rpcs
    await store.store(b"x" * 900_000, "x" * 256)
