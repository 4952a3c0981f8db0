"""What fails for now is tried again after a wait, and not once the time-out is used up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.cloud.firestore import AsyncClient
from google.rpc.status_pb2 import Status

from dsset import AddError, DSSet, Item, protos
from dsset.documents import document_id
from dsset.wire import Wire
from emulator.firestore import Emulator, Fault
from eventbox.testing import ManualClock
from tests.advancing import settled, while_advancing


@pytest.fixture
def dsset(local_client: AsyncClient, clock: ManualClock) -> DSSet:
    return DSSet(local_client.document("queues/1"), clock=clock)


def refuse(emulator: Emulator, times: int | None = 1) -> None:
    """Let the next BatchWrites fail for now, as a whole."""
    emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", times=times))


def refuse_write(monkeypatch: pytest.MonkeyPatch, item_id: str, times: int = 1) -> None:
    """Let the write of this item alone fail for now, by its status in so many BatchWrites, which do the others."""
    batch_write = Wire.batch_write
    left = times

    async def without_it(self: Wire, writes: Iterable[Any], *, timeout: float) -> Any:
        nonlocal left
        writes = list(writes)
        refused = [left > 0 and write.name.endswith(document_id(item_id)) for write in writes]
        left -= any(refused)
        done = await batch_write(
            self, [write for write, no in zip(writes, refused, strict=True) if not no], timeout=timeout
        )
        answers = iter(zip(done.write_results, done.status, strict=True))
        response = protos.BatchWriteResponse()
        for no in refused:
            result, status = response.write_results.add(), response.status.add()
            if no:
                status.CopyFrom(Status(code=14, message="not now"))
            else:
                for mine, theirs in zip((result, status), next(answers), strict=True):
                    mine.CopyFrom(theirs)
        return response

    monkeypatch.setattr(Wire, "batch_write", without_it)


async def begun(
    dsset: DSSet, emulator: Emulator, ids: str
) -> tuple[asyncio.Task[list[bool]], Mapping[str, int]]:
    """An add of these items, as far as it gets without any time passing; the RPCs that it has made."""
    emulator.counts.reset()
    adding = asyncio.create_task(dsset.add([Item(one, b"") for one in ids]))
    await settled()
    return adding, dict(emulator.counts.rpcs)


@pytest.mark.parametrize("by_status", [False, True])
async def test_a_single_item_is_tried_again_after_a_wait(
    dsset: DSSet, emulator: Emulator, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, by_status: bool
) -> None:
    if by_status:
        refuse_write(monkeypatch, "a")
    else:
        refuse(emulator)
    adding, rpcs = await begun(dsset, emulator, "a")
    assert rpcs == {"BatchWrite": 1}
    assert await while_advancing(clock, adding) == [True]
    assert emulator.counts.rpcs == {"BatchWrite": 2}


@pytest.mark.parametrize("by_status", [False, True])
async def test_a_single_item_is_tried_once_where_there_is_no_time_for_a_wait(
    dsset: DSSet, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, by_status: bool
) -> None:
    if by_status:
        refuse_write(monkeypatch, "a", times=9)
    else:
        refuse(emulator, times=None)
    emulator.counts.reset()
    with pytest.raises(AddError) as caught:
        await dsset.add([Item("a", b"")], timeout=timedelta(0))
    assert caught.value.results == (None,)
    assert isinstance(caught.value.errors[0], ServiceUnavailable)
    assert emulator.counts.rpcs == {"BatchWrite": 1}


@pytest.mark.parametrize("ids", ["ab", "ba"])
async def test_one_that_fails_for_now_waits_though_another_is_known(
    dsset: DSSet, emulator: Emulator, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, ids: str
) -> None:
    await dsset.add([Item("b", b"")])
    refuse_write(monkeypatch, "a")
    adding, rpcs = await begun(dsset, emulator, ids)
    assert rpcs == {"BatchWrite": 1, "BatchGetDocuments": 1}
    assert await while_advancing(clock, adding) == [one == "a" for one in ids]
    assert emulator.counts.rpcs == {"BatchWrite": 2, "BatchGetDocuments": 1}


@pytest.mark.parametrize("ids", ["ab", "ba"])
async def test_of_two_that_one_is_known_of_the_other_fails_where_there_is_no_time(
    dsset: DSSet, monkeypatch: pytest.MonkeyPatch, ids: str
) -> None:
    await dsset.add([Item("b", b"")])
    refuse_write(monkeypatch, "a", times=9)
    with pytest.raises(AddError) as caught:
        await dsset.add([Item(one, b"") for one in ids], timeout=timedelta(0))
    assert caught.value.results == tuple(None if one == "a" else False for one in ids)


@pytest.mark.parametrize("failing", ["a", "b"])
async def test_a_half_of_a_refused_request_that_fails_for_now_is_sent_again_after_a_wait(
    dsset: DSSet, emulator: Emulator, clock: ManualClock, failing: str
) -> None:
    emulator.faults.add(Fault(rpc="BatchWrite", error="INVALID_ARGUMENT"))
    path = f"queues/1/dsset/{document_id(failing)}"
    emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", path=path))
    adding, rpcs = await begun(dsset, emulator, "ab")
    assert rpcs == {"BatchWrite": 3}
    assert await while_advancing(clock, adding) == [True, True]
    assert emulator.counts.rpcs == {"BatchWrite": 4}
