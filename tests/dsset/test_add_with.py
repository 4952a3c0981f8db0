"""An item that is added in one commit with other writes: as `add`, and the others with it or not at all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import GoogleAPICallError, PermissionDenied, ServiceUnavailable
from google.cloud.firestore import AsyncClient

from dsset import DSSet, Item, protos
from emulator.firestore import Emulator, Fault
from eventbox.testing import ManualClock
from tests.advancing import while_advancing

DELAY = timedelta(hours=1)


@pytest.fixture
def dsset(local_client: AsyncClient, clock: ManualClock) -> DSSet:
    return DSSet(local_client.document("queues/1"), tombstones_delay=DELAY, clock=clock)


def note(client: AsyncClient, name: str = "1") -> Any:
    """A write that makes a document in `notes`."""
    path = f"{client._database_string}/documents/notes/{name}"
    return protos.Write(update=protos.Document(name=path, fields={"n": protos.Value(integer_value=1)}))


async def notes(client: AsyncClient) -> list[str]:
    return [snapshot.id async for snapshot in client.collection("notes").stream()]


async def ids(dsset: DSSet) -> list[str]:
    return [item.id for item in (await dsset.list(10)).items]


async def test_both_are_written_and_the_commits_time_is_told(
    dsset: DSSet, local_client: AsyncClient, emulator: Emulator
) -> None:
    emulator.counts.reset()
    added = await dsset.add_with(Item("x", b"1"), [note(local_client)])
    assert dict(emulator.counts.rpcs) == {"Commit": 1}
    assert (emulator.counts.reads, emulator.counts.writes) == (0, 2)
    assert added.new
    assert [item.created_at for item in (await dsset.list(1)).items] == [added.commit_time]
    assert await notes(local_client) == ["1"]


@pytest.mark.parametrize("consumed", [False, True])
async def test_a_duplicate_writes_nothing_and_costs_one_read(
    dsset: DSSet, local_client: AsyncClient, emulator: Emulator, consumed: bool
) -> None:
    await dsset.add([Item("x", b"1")])
    if consumed:
        await dsset.delete(["x"])
    emulator.counts.reset()
    added = await dsset.add_with(Item("x", b"1"), [note(local_client)])
    assert (added.new, added.commit_time) == (False, None)
    assert dict(emulator.counts.rpcs) == {"Commit": 1, "BatchGetDocuments": 1}
    assert (emulator.counts.reads, emulator.counts.writes) == (1, 0)
    assert await notes(local_client) == []


async def test_an_expired_tombstone_is_revived_together_with_the_others(
    dsset: DSSet, local_client: AsyncClient, clock: ManualClock
) -> None:
    await dsset.add([Item("x", b"1")])
    await dsset.delete(["x"])
    clock.advance(DELAY)
    added = await dsset.add_with(Item("x", b"2"), [note(local_client)])
    assert added.new
    assert added.commit_time is not None
    assert added.commit_time >= clock.now()
    assert [item.value for item in (await dsset.list(1)).items] == [b"2"]
    assert await notes(local_client) == ["1"]


@pytest.mark.parametrize("revived", [False, True])
async def test_a_resend_after_a_lost_answer_is_no_duplicate(
    dsset: DSSet, local_client: AsyncClient, emulator: Emulator, clock: ManualClock, revived: bool
) -> None:
    if revived:
        await dsset.add([Item("x", b"1")])
        await dsset.delete(["x"])
        clock.advance(DELAY)
        emulator.faults.add(Fault(rpc="Commit", error=None))  # the create, which meets the tombstone
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="after"))
    added = await while_advancing(clock, dsset.add_with(Item("x", b"1"), [note(local_client)]))
    assert (added.new, added.commit_time) == (True, None)  # nobody knows when it was
    assert await ids(dsset) == ["x"]
    assert await notes(local_client) == ["1"]


async def test_a_commit_that_arrives_late_does_not_write_the_others_again(
    dsset: DSSet, local_client: AsyncClient, emulator: Emulator, clock: ManualClock
) -> None:
    late = timedelta(seconds=5)
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="late", latency=late))
    added = await while_advancing(clock, dsset.add_with(Item("x", b"1"), [note(local_client)]))
    assert added.commit_time is not None
    await local_client.document("notes/1").delete()  # as whoever made it does in the end
    clock.advance(late)
    assert await ids(dsset) == ["x"]
    assert await notes(local_client) == []


async def test_what_cannot_be_written_is_raised_and_nothing_is_there(
    dsset: DSSet, local_client: AsyncClient, emulator: Emulator, clock: ManualClock
) -> None:
    emulator.faults.add(Fault(rpc="Commit", error="PERMISSION_DENIED"))
    with pytest.raises(PermissionDenied):
        await dsset.add_with(Item("x", b"1"), [note(local_client)])
    outage = emulator.faults.add(Fault(error="UNAVAILABLE", times=None))
    with pytest.raises(ServiceUnavailable):
        await while_advancing(clock, dsset.add_with(Item("x", b"1"), [note(local_client)]))
    outage.remove()
    assert await ids(dsset) == await notes(local_client) == []


async def test_an_outage_while_looking_at_what_lies_there_is_raised(
    dsset: DSSet, local_client: AsyncClient, emulator: Emulator, clock: ManualClock
) -> None:
    await dsset.add([Item("x", b"1")])
    emulator.faults.add(Fault(rpc="BatchGetDocuments", error="UNAVAILABLE", times=None))
    with pytest.raises(GoogleAPICallError):
        await while_advancing(clock, dsset.add_with(Item("x", b"1"), [note(local_client)]))


async def test_bad_arguments_are_refused_before_anything_is_sent(
    dsset: DSSet, local_client: AsyncClient, emulator: Emulator
) -> None:
    with pytest.raises(ValueError, match="256 bytes"):
        await dsset.add_with(Item("", b""), [note(local_client)])
    with pytest.raises(TypeError, match="timedelta"):
        await dsset.add_with(Item("x", b""), [note(local_client)], timeout=1)  # type: ignore[arg-type]
    assert not emulator.counts.rpcs
