"""BatchWrite: each write stands alone, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from datetime import UTC
from pathlib import Path
from typing import Any

from google.cloud.firestore import AsyncClient

from dsset.wire import Wire
from emulator.firestore import Emulator, protos
from eventbox.testing import ManualClock
from tests.emulator.firestore.data_folders import content, opened
from tests.emulator.firestore.test_full_disk import file_size_limit


def put(client: AsyncClient, path: str, size: int = 1, **rest: Any) -> Any:
    fields = {"x": protos.Value(string_value="x" * size)}
    return protos.Write(update=protos.Document(name=name(client, path), fields=fields), **rest)


def name(client: AsyncClient, path: str) -> str:
    return f"{client._database_string}/documents/{path}"


async def codes(client: AsyncClient, *writes: Any) -> list[int]:
    return [status.code for status in (await Wire.of(client).batch_write(writes)).status]


async def test_a_write_that_fails_leaves_the_others_alone(
    client: AsyncClient,
) -> None:
    exists = protos.Precondition(exists=True)
    absent = protos.Precondition(exists=False)
    assert await codes(client, put(client, "a/1"), put(client, "a/2")) == [0, 0]
    writes = [
        put(client, "a/1", 2, current_document=absent),
        put(client, "a/2", 2),
        put(client, "a/3", current_document=exists),
        protos.Write(),
        protos.Write(delete=name(client, "a/1")),
    ]
    response = await Wire.of(client).batch_write(writes[:4])
    assert [status.code for status in response.status] == [6, 0, 5, 3]
    assert [result.HasField("update_time") for result in response.write_results] == [
        False,
        True,
        False,
        False,
    ]
    assert [len(one.get("x")) for one in await client.collection("a").get()] == [1, 2]
    assert await codes(client, writes[4]) == [0]
    assert [one.id for one in await client.collection("a").get()] == ["2"]


async def test_each_write_is_a_commit_of_its_own_to_whoever_reads_the_past(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    gone = put(local_client, "a/x/c/0")
    await codes(local_client, gone)
    writes = [
        put(local_client, "a/x/c/1"),
        put(local_client, "b/x/c/2"),
        protos.Write(delete=gone.update.name),
        put(local_client, "b/x/c/3"),
        put(local_client, "a/x/c/4"),
    ]
    response = await Wire.of(local_client).batch_write(writes)
    times = [result.update_time.ToDatetime(UTC) for result in response.write_results if str(result)]
    assert len(times) == 4
    everything = local_client.collection_group("c")
    found = [{one.id for one in await everything.get(read_time=time)} for time in times]
    assert found == [{"0", "1"}, {"0", "1", "2"}, {"1", "2", "3"}, {"1", "2", "3", "4"}]
    assert (emulator.counts.writes, emulator.counts.deletes) == (5, 1)


async def test_beside_a_folder_a_deletion_that_came_last_is_earlier_than_all_that_follows(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    with opened(tmp_path, clock=clock) as emulator:
        client = emulator.client()
        gone = put(client, "a/1")
        await codes(client, gone)
        await codes(client, put(client, "a/2"), protos.Write(delete=gone.update.name))
        seen = (await client.document("a/1").get()).read_time
    with opened(tmp_path, clock=clock) as emulator:
        result = await emulator.client().document("a/1").set({})
        assert result.update_time > seen


async def test_what_was_done_is_counted_and_what_failed_is_not(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    missing = protos.Precondition(exists=True)
    await codes(
        local_client,
        put(local_client, "a/1"),
        put(local_client, "a/2", current_document=missing),
        protos.Write(delete=name(local_client, "a/3")),
        protos.Write(delete=name(local_client, "a/4"), current_document=missing),
    )
    assert (emulator.counts.writes, emulator.counts.deletes) == (1, 1)


async def test_a_write_that_waits_for_a_lock_is_done_as_the_others_are_once_it_is_let_go(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    held = local_client.document("a/2")
    transaction = local_client.transaction()
    await transaction._begin()
    await held.get(transaction=transaction)
    writing = asyncio.create_task(codes(local_client, *(put(local_client, f"a/{n}") for n in "123")))
    await asyncio.sleep(0)
    assert not (await held.get()).exists
    await transaction._rollback()
    assert await writing == [0, 0, 0]
    assert [one.id for one in await local_client.collection("a").get()] == ["1", "2", "3"]


async def test_where_the_disk_has_no_room_for_all_those_are_written_that_it_has_room_for(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as emulator:
        client = emulator.client()
        await client.document("a/0").set({})
        with file_size_limit(emulator, growth=100_000):
            writes = [put(client, "a/1"), put(client, "a/2", 1_000_000), put(client, "a/3")]
            assert await codes(client, *writes) == [0, 8, 0]
        assert (emulator.counts.writes, emulator.counts.deletes) == (3, 0)
        documents = content(emulator)
        assert [one.rpartition("/")[2] for one in documents] == ["0", "1", "3"]
    with opened(tmp_path) as emulator:
        assert content(emulator) == documents
