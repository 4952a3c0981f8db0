"""Listeners that come back, or were away for long: what has changed, or everything anew."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator
from emulator.firestore.query import Query
from eventbox.testing import ManualClock
from tests.emulator.firestore.listening_client import ListeningClient, query


async def test_a_client_that_comes_back_is_told_what_has_changed_and_the_count(client: AsyncClient) -> None:
    for n in range(20):
        await client.document(f"c/{n}").set({"n": n})
    first = ListeningClient(client)
    await first.add(1, query(at_least=5))
    await first.snapshot()
    first.call.cancel()
    await client.document("c/5").update({"n": 0})
    await client.document("c/6").delete()
    await client.document("c/7").update({"n": 77})
    await client.document("c/0").update({"n": 100})
    second = ListeningClient(client)
    second.results = {1: first.results[1]}
    await second.add(1, query(at_least=5), resume_token=first.token)
    heard = await second.snapshot()
    assert sorted(heard[1:-3]) == ["document_change", "document_change", "document_delete", "document_remove"]
    assert heard[-3:] == ["filter", "target_change", "target_change"]
    assert len(second.ids(1)) == 14


async def test_what_the_history_cannot_tell_any_more_is_told_anew(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    await local_client.document("c/1").set({})
    first = ListeningClient(local_client)
    await first.add(1, query())
    await first.snapshot()
    await local_client.document("c/2").set({})
    await local_client.document("c/1").delete()
    clock.advance(timedelta(hours=2))
    for n in range(5):
        await local_client.document("c/3").set({"n": n})
    second = ListeningClient(local_client)
    second.results = {1: {f"{second.root}/c/1": 0}}
    await second.add(1, query(), resume_token=first.token)
    await second.snapshot()
    assert second.ids(1) == ["c/2", "c/3"]
    assert second.heard[1].target_change.target_change_type == 4  # RESET
    # the first stream was there all the time, but has not read: it is told anew as well
    await first.snapshot_at(second.read_time)
    assert first.ids(1) == ["c/2", "c/3"]


async def test_an_idle_target_is_not_told_anew_after_an_hour(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    await local_client.document("c/1").set({})
    listener = ListeningClient(local_client)
    await listener.add(1, query())
    await listener.snapshot()
    clock.advance(timedelta(hours=2))
    for n in range(5):
        await local_client.document("d/1").set({"n": n})
    await local_client.document("c/2").set({})
    assert await listener.snapshot() == ["document_change", "target_change"]


async def test_a_collection_that_has_gone_with_all_that_was_known_of_it_is_told_anew(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    await local_client.document("c/1").set({})
    await local_client.document("d/1").set({})
    slow, back = ListeningClient(local_client), ListeningClient(local_client)
    targets: dict[int, dict[str, Any]] = {
        1: {"query": query()},
        2: {"query": query(group=True)},
        3: {"documents": ["c/1"]},
    }
    for target_id, target in targets.items():
        await slow.add(target_id, **target)
        await slow.snapshot()
    await local_client.document("c/1").delete()
    clock.advance(timedelta(hours=2))
    for n in range(5):
        await local_client.document("d/1").set({"n": n})
    for target_id, target in targets.items():
        back.results[target_id] = dict(slow.results[target_id])
        await back.add(target_id, resume_token=slow.token, **target)
        await back.snapshot()
        assert back.ids(target_id) == []
    await slow.snapshot()
    assert [slow.ids(target_id) for target_id in targets] == [[], [], []]


async def test_a_change_in_a_group_costs_no_look_at_all_collections(
    emulator: Emulator, local_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(200):
        await local_client.document(f"d/{n}/d/1").set({})
    listener = ListeningClient(local_client)
    await listener.add(1, query(group=True))
    await listener.snapshot()
    asked = 0
    covers = Query.covers

    def counting(query: Query, name: str) -> bool:
        nonlocal asked
        asked += 1
        return covers(query, name)

    monkeypatch.setattr(Query, "covers", counting)
    await local_client.document("d/1/c/1").set({})
    await listener.snapshot()
    assert listener.ids(1) == ["d/1/c/1"]
    assert asked < 20


async def test_a_token_of_another_emulator_in_the_same_moment_is_told_anew(clock: ManualClock) -> None:
    one, other = Emulator(clock=clock).client(), Emulator(clock=clock).client()
    await one.document("c/1").set({})
    await other.document("c/2").set({})
    first, second = ListeningClient(one), ListeningClient(other)
    await first.add(1, query())
    await first.snapshot()
    second.results = {1: dict(first.results[1])}
    await second.add(1, query(), resume_token=first.token)
    await second.snapshot()
    assert second.ids(1) == ["c/2"]


async def test_a_token_of_a_great_many_digits_is_invalid(local_client: AsyncClient) -> None:
    listener = ListeningClient(local_client)
    await listener.add(1, query())
    await listener.snapshot()
    life = listener.token.partition(b":")[0]
    for target_id, token in ((2, life + b":" + b"1" * 5_000), (3, b"1" * 5_000 + b":1")):
        await listener.add(target_id, query(), resume_token=token)
        await listener.hear()
        assert listener.removed[target_id].code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


async def test_a_target_id_is_assigned_beside_the_highest(local_client: AsyncClient) -> None:
    listener = ListeningClient(local_client)
    for target_id in (2**31 - 1, 0, 0):
        await listener.add(target_id, query())
        await listener.snapshot()
    assert sorted(listener.results) == [1, 2, 2**31 - 1]


async def test_a_token_of_another_emulator_is_told_anew() -> None:
    tokens = []
    for _ in range(2):
        client = Emulator(clock=ManualClock()).client() if not tokens else Emulator().client()
        listener = ListeningClient(client)
        await listener.add(1, query(), resume_token=tokens[-1] if tokens else b"")
        await listener.snapshot()
        tokens.append(listener.token)
    assert [one.target_change.target_change_type for one in listener.heard] == [1, 4, 3, 0]


async def test_a_listener_is_told_when_everything_is_cleared(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    await local_client.document("c/1").set({})
    listener = ListeningClient(local_client)
    await listener.add(1, query())
    await listener.snapshot()
    emulator.clear("demo")
    await listener.snapshot()
    assert listener.ids(1) == []
    await local_client.document("c/2").set({})
    await listener.snapshot()
    emulator.clear()
    await local_client.document("c/3").set({})
    await listener.snapshot()
    assert listener.ids(1) == ["c/3"]
