"""`GroupWriter`: blocks that are under way at once share commits, and each stands or falls with its group."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from emulator.firestore import Fault
from eventbox import NewEvent, Recipient
from eventbox.demo.group_writer import GroupWriter
from eventbox.demo.history_events import LOG, AddressedEvent
from eventbox.log import EventLog
from eventbox.sources import FunctionWriter
from tests.eventbox.tasks.worker.house import House

BLOCKS = [number.to_bytes(8, "big") for number in range(20)]


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def log(house: House) -> EventLog:
    return EventLog(house.box, house.box.client.document(LOG), sender=house.queue)


@pytest.fixture
def writer(house: House, log: EventLog) -> FunctionWriter:
    return FunctionWriter(GroupWriter(house.queue, log).write)


def events(block: bytes) -> Iterator[NewEvent]:
    yield AddressedEvent(block, to=LOG)
    yield AddressedEvent(b"to the author of " + block, to="authors/a")
    yield AddressedEvent(b"to a file of " + block, to=f"files/{block[-1]}")


async def write_all(writer: FunctionWriter) -> None:
    await asyncio.gather(*(writer.write("history", block, list(events(block))) for block in BLOCKS))


async def outstanding(house: House, path: str) -> list[bytes]:
    recipient = Recipient(house.box.client.document(path), "outstanding")
    return sorted(event.value for event in await house.box.list_events(recipient))


async def test_blocks_under_way_share_commits_and_wake_ups_and_the_log_is_in_their_order(
    house: House, log: EventLog, writer: FunctionWriter
) -> None:
    await write_all(writer)
    await house.queue.flush()
    # the log, the author and each file; the first block may have gone ahead of the others
    assert len(await house.tasks()) == len(BLOCKS) + 2
    assert len(await outstanding(house, "authors/a")) == len(BLOCKS)
    assert await outstanding(house, "files/7") == [b"to a file of " + BLOCKS[7]]
    await log.order()
    assert [entry.payload for entry in await log.read()] == BLOCKS


async def test_blocks_that_come_while_others_are_being_sent_are_written_too(
    house: House, writer: FunctionWriter
) -> None:
    first = asyncio.create_task(writer.write("history", BLOCKS[0], list(events(BLOCKS[0]))))
    while not house.firestore.counts.rpcs:  # noqa: ASYNC110
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await asyncio.gather(
            first, *(writer.write("history", block, list(events(block))) for block in BLOCKS[1:])
        )
    assert len(await outstanding(house, "authors/a")) == len(BLOCKS)


async def test_a_block_that_is_written_twice_is_sent_once(
    house: House, log: EventLog, writer: FunctionWriter
) -> None:
    await write_all(writer)
    await write_all(writer)
    assert len(await outstanding(house, "authors/a")) == len(BLOCKS)
    assert len(await outstanding(house, "files/7")) == 1
    await log.order()
    assert len(await log.read()) == len(BLOCKS)


async def test_where_a_part_cannot_be_sent_no_block_of_the_group_is_written_and_later_ones_are(
    house: House, writer: FunctionWriter
) -> None:
    fault = house.firestore.faults.add(Fault(rpc="*", error="PERMISSION_DENIED", times=1_000))
    results = await asyncio.gather(
        *(writer.write("history", block, list(events(block))) for block in BLOCKS), return_exceptions=True
    )
    assert all(isinstance(result, BaseException) for result in results)
    fault.remove()
    await write_all(writer)
    assert len(await outstanding(house, "authors/a")) == len(BLOCKS)


async def test_a_block_that_is_cancelled_keeps_none_of_the_others_from_being_written(
    house: House, writer: FunctionWriter
) -> None:
    tasks = [asyncio.create_task(writer.write("history", block, list(events(block)))) for block in BLOCKS]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.gather(*tasks[1:])
    assert tasks[0].cancelled()
    assert len(await outstanding(house, "authors/a")) >= len(BLOCKS) - 1


async def test_many_events_for_one_recipient_are_several_commits(
    house: House, writer: FunctionWriter
) -> None:
    many: list[NewEvent] = [AddressedEvent(b"%d" % n, to="authors/a") for n in range(1_201)]
    await writer.write("history", BLOCKS[0], many)
    assert len(await outstanding(house, "authors/a")) == 1_201
