"""Documents whose time is up."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from emulator.firestore import Emulator
from eventbox.testing import ManualClock
from tests.emulator.firestore.sessions import PESSIMISTIC, Session


@pytest.fixture
def indexes(tmp_path: Path) -> Path:
    path = tmp_path / "firestore.indexes.json"
    policy = {"collectionGroup": "a", "fieldPath": "expires", "ttl": True}
    path.write_text(json.dumps({"fieldOverrides": [policy, {"collectionGroup": "b", "fieldPath": "x"}]}))
    return path


async def test_documents_expire_by_their_ttl_policy(indexes: Path, clock: ManualClock) -> None:
    emulator = Emulator(indexes=indexes, clock=clock)
    client = emulator.client()
    soon, later = clock.now() + timedelta(hours=1), clock.now() + timedelta(hours=2)
    await client.document("a/soon").set({"expires": soon})
    await client.document("a/put-off").set({"expires": soon})
    await client.document("a/put-off").set({"expires": later})
    await client.document("a/never").set({"expires": "soon"})
    await client.document("b/other").set({"expires": soon})
    clock.advance(timedelta(hours=1))
    emulator.counts.reset()
    emulator.tick()
    assert emulator.counts.deletes == 1
    left = {one.reference.path async for one in client.collection_group("a").stream()}
    assert left == {"a/put-off", "a/never"}
    clock.advance(timedelta(hours=1))
    assert not (await client.document("a/put-off").get()).exists
    assert (await client.document("b/other").get()).exists


async def test_what_a_transaction_has_locked_expires_once_it_has_ended(
    indexes: Path, clock: ManualClock
) -> None:
    emulator = Emulator(indexes=indexes, clock=clock)
    client = emulator.client()
    ref = client.document("a/1")
    await ref.set({"expires": clock.now() + timedelta(seconds=30)})
    session = await Session(client, PESSIMISTIC).begin()
    await session.get("a/1")
    clock.advance(timedelta(seconds=31))
    emulator.tick()
    assert (await ref.get()).exists
    await session.rollback()
    emulator.tick()
    assert not (await ref.get()).exists


async def test_putting_a_document_off_again_and_again_leaves_nothing_behind(
    indexes: Path, clock: ManualClock
) -> None:
    emulator = Emulator(indexes=indexes, clock=clock)
    ref = emulator.client().document("a/1")
    for hour in range(1_000):
        await ref.set({"expires": clock.now() + timedelta(hours=hour)})
    assert len(emulator._service._ttl._heap) < 100
