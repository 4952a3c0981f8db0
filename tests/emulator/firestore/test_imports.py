"""What an import does to an emulator that is there."""

from __future__ import annotations

import io
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.api_core import exceptions
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.base_query import FieldFilter

from emulator.firestore import Emulator, protos
from eventbox.testing import ManualClock
from tests.emulator.firestore.lines import DOCUMENTS, exported, line
from tests.emulator.firestore.listening_client import ListeningClient


async def test_an_import_replaces_what_it_names_and_leaves_the_rest(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    await local_client.document("a/1").set({"x": 1, "y": 1})
    await local_client.document("a/2").set({"x": 1})
    emulator.counts.reset()
    text = line(fields={"x": {"integerValue": "2"}}) + "\n" + line("a/3") + line("b/1")
    text += line("a/3", fields={"z": {"nullValue": None}})
    assert emulator.import_documents(io.StringIO(text)) == 3
    assert emulator.counts.writes == 0
    found = {one.id: one.to_dict() async for one in local_client.collection("a").stream()}
    assert found == {"1": {"x": 2}, "2": {"x": 1}, "3": {"z": None}}
    assert [one.id async for one in local_client.collections()] == ["a", "b"]
    for field, value, ids in (("x", 2, ["1"]), ("y", 1, [])):
        query = local_client.collection("a").where(filter=FieldFilter(field, "==", value))
        assert [one.id async for one in query.stream()] == ids


async def test_an_import_keeps_the_times_that_it_has_and_gives_those_that_it_lacks(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    now = clock.now()
    text = (
        line("a/both", createTime="2020-01-01T00:00:00Z", updateTime="2021-01-01T00:00:00.123456789Z")
        + line("a/none")
        + line("a/created", createTime="2020-01-01T00:00:00Z")
        + line("a/updated", updateTime="2021-01-01T00:00:00Z")
        + line("a/future", createTime="2021-01-01T00:00:00Z", updateTime="2099-01-01T00:00:00Z")
    )
    emulator.import_documents(io.StringIO(text))
    times = {
        one.id: (one.create_time, one.update_time) async for one in local_client.collection("a").stream()
    }
    then, later = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
    assert times["both"] == (then, later + timedelta(microseconds=123_456))
    assert times["none"] == (now, now)
    assert times["created"] == (then, now)
    assert times["updated"] == (later, later)
    assert times["future"] == (later, now)
    update = await local_client.document("a/future").set({"n": 1})
    assert update.update_time > now


async def test_an_import_ends_transactions_and_the_readable_past(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    ref = local_client.document("a/1")
    before = (await ref.set({"n": 1})).update_time
    transaction = local_client.transaction()
    await transaction._begin()
    await ref.get(transaction=transaction)
    clock.advance(timedelta(seconds=1))
    emulator.import_documents(io.StringIO(line(updateTime="2020-01-01T00:00:00Z")))
    with pytest.raises(exceptions.FailedPrecondition, match="too old"):
        await ref.get(read_time=before)
    transaction.set(ref, {"n": 2})
    with pytest.raises(exceptions.GoogleAPICallError, match="no longer valid"):
        await transaction._commit()
    imported = await ref.get()
    assert imported.to_dict() == {}
    clock.advance(timedelta(seconds=1))
    await ref.set({"n": 3})
    assert (await ref.get(read_time=imported.read_time)).to_dict() == {}
    clock.advance(timedelta(hours=2))
    for n in range(20):  # and pruning knows what to do with it
        await ref.set({"n": n})
    await ref.delete()
    assert not (await ref.get()).exists


async def test_a_listener_is_told_of_an_import(emulator: Emulator, local_client: AsyncClient) -> None:
    await local_client.document("a/1").set({"n": 1})
    listener = ListeningClient(local_client)
    query = protos.StructuredQuery()
    query.from_.add(collection_id="a")
    await listener.add(1, query)
    await listener.snapshot()
    versions = dict(listener.results[1])
    emulator.import_documents(io.StringIO(line("a/1", updateTime="2020-01-01T00:00:00Z") + line("a/2")))
    await listener.snapshot()
    assert listener.ids(1) == ["a/1", "a/2"]
    assert listener.results[1][f"{DOCUMENTS}/a/1"] != versions[f"{DOCUMENTS}/a/1"]


async def test_imported_documents_expire(tmp_path: Path, clock: ManualClock) -> None:
    indexes = tmp_path / "firestore.indexes.json"
    policy = {"collectionGroup": "a", "fieldPath": "expires", "ttl": True}
    indexes.write_text(json.dumps({"fieldOverrides": [policy]}))
    emulator = Emulator(clock=clock, indexes=indexes)
    expires = {"timestampValue": "2030-01-01T01:00:00Z"}
    emulator.import_documents(io.StringIO(line(fields={"expires": expires})))
    assert exported(emulator)
    clock.advance(timedelta(hours=1))
    emulator.tick()
    assert not exported(emulator)


async def test_an_import_is_in_the_data_folder_too_and_time_goes_on_from_it(tmp_path: Path) -> None:
    early = ManualClock(datetime(2020, 1, 1, tzinfo=UTC))
    with closing(Emulator(data_dir=tmp_path, clock=early)) as emulator:
        emulator.import_documents(io.StringIO(line("a/1") + line("a/2", updateTime="2010-01-01T00:00:00Z")))
        text = exported(emulator)
    with closing(Emulator(data_dir=tmp_path, clock=early)) as emulator:
        assert exported(emulator) == text
        assert (await emulator.client().document("a/2").set({"n": 1})).update_time > early.now()
