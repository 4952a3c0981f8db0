"""`listen`: a result, again whenever it changes, through broken streams and restarts."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore import AsyncClient, FieldFilter

from emulator.firestore import Emulator, Fault
from emulator.process import EmulatorProcess
from eventbox import Snapshot, listen
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.fronts import connect
from tests.served_app import free_port


def told(snapshot: Snapshot) -> list[tuple[str, str]]:
    return sorted((change.kind, change.document.reference.path) for change in snapshot.changes)


async def test_a_query_is_told_at_first_and_at_each_change(client: AsyncClient) -> None:
    await client.document("c/1").set({"n": 1, "at": {"x": [client.document("a/b")]}})
    positive = client.collection("c").where(filter=FieldFilter("n", ">", 0))
    async with aclosing(listen(positive)) as snapshots:
        first = await anext(snapshots)
        assert told(first) == [("added", "c/1")]
        document = first.documents["c/1"]
        direct = await client.document("c/1").get()
        assert document.to_dict() == direct.to_dict()
        assert (document.create_time, document.update_time) == (direct.create_time, direct.update_time)
        assert document.exists
        assert document.read_time == first.read_time
        await client.document("c/0").set({"n": 0})
        batch = client.batch()
        batch.update(client.document("c/1"), {"n": 2})
        batch.set(client.document("c/2"), {"n": 2})
        await batch.commit()
        second = await anext(snapshots)
        assert told(second) == [("added", "c/2"), ("modified", "c/1")]
        assert second.read_time > first.read_time
        await client.document("c/1").update({"n": 0})
        await client.document("c/2").delete()
        snapshot = await anext(snapshots)
        while snapshot.documents:
            snapshot = await anext(snapshots)
        assert dict(first.documents).keys() == {"c/1"}  # a snapshot stays as it was


@pytest.mark.parametrize("kind", ["document", "collection", "group"])
async def test_documents_collections_and_groups_can_be_listened_to(client: AsyncClient, kind: str) -> None:
    target: Any = {
        "document": client.document("a/1"),
        "collection": client.collection("a"),
        "group": client.collection_group("a"),
    }[kind]
    async with aclosing(listen(target)) as snapshots:
        first = await anext(snapshots)
        assert (dict(first.documents), first.changes) == ({}, ())
        await client.document("a/1").set({})
        assert told(await anext(snapshots)) == [("added", "a/1")]
        await client.document("a/1").delete()
        removed = await anext(snapshots)
        assert told(removed) == [("removed", "a/1")]
        assert not removed.documents


async def test_what_cannot_be_listened_to_is_refused(client: AsyncClient) -> None:
    with pytest.raises(ValueError, match="limit_to_last"):
        await anext(listen(client.collection("a").order_by("n").limit_to_last(1)))
    with pytest.raises(TypeError, match="AsyncClient"):
        await anext(listen("a/1"))  # type: ignore[arg-type]
    with pytest.raises(exceptions.InvalidArgument):
        await anext(listen(client.collection("a").limit(-1)))


@pytest.mark.parametrize("error", ["UNAVAILABLE", "CANCELLED", "UNAUTHENTICATED"])
async def test_a_stream_that_cannot_be_opened_is_tried_again_with_backoff(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock, error: str
) -> None:
    emulator.faults.add(Fault(rpc="Listen", error=error, times=3))
    before = clock.now()
    snapshots = listen(local_client.document("a/1"), clock=clock)
    await while_advancing(clock, anext(snapshots))
    assert emulator.counts.rpcs["Listen"] == 4
    assert 0.35 <= (clock.now() - before).total_seconds() <= 0.7
    await snapshots.aclose()


async def test_an_error_that_another_attempt_would_not_change_is_raised(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    emulator.faults.add(Fault(rpc="Listen", error="PERMISSION_DENIED"))
    with pytest.raises(exceptions.PermissionDenied):
        await anext(listen(local_client.document("a/1")))


async def test_a_server_that_goes_away_and_comes_back_with_other_data_is_followed() -> None:
    port = free_port()  # of the ephemeral ones another would perhaps have it before the second
    async with EmulatorProcess(port=port) as first:
        async with connect(first.address) as client:
            for n in range(3):
                await client.document(f"a/{n}").set({"n": n})
            async with aclosing(listen(client.collection("a"))) as snapshots:
                assert len((await anext(snapshots)).documents) == 3
                waiting = asyncio.ensure_future(anext(snapshots))
                await first.stop()
                async with EmulatorProcess(port=port) as second:
                    assert second.address == first.address
                    emptied = await waiting
                    assert told(emptied) == [("removed", f"a/{n}") for n in range(3)]
                    await client.document("a/5").set({})
                    assert told(await anext(snapshots)) == [("added", "a/5")]


async def test_closing_ends_the_stream_and_leaves_nothing_behind(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    async with aclosing(listen(local_client.collection("a"))) as snapshots:
        await anext(snapshots)
        assert emulator._service._watchers._by_path
    assert not emulator._service._watchers._by_path
    snapshots = listen(local_client.collection("a"))
    await anext(snapshots)
    waiting = asyncio.ensure_future(anext(snapshots))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not emulator._service._watchers._by_path
