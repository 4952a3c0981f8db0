"""Writers: a block that is written twice is there once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from google.cloud.firestore import AsyncClient

from eventbox import EventBox, NewEvent, Recipient
from eventbox.log import EventLog
from eventbox.sources import BoxWriter, FunctionWriter, LogWriter, Writer
from eventbox.testing import ManualClock

EVENTS = [NewEvent(b"x"), NewEvent(b"x"), NewEvent(b"y", id="mine")]


async def test_a_block_that_is_written_twice_emits_once(local_client: AsyncClient) -> None:
    box, to = EventBox(local_client), Recipient(local_client.document("a/1"), "a")
    writer = BoxWriter(box, to)
    for ingestor in ("one", "other"):
        for block in (b"\0", b"\1", b"\0"):
            await writer.write(ingestor, block, EVENTS[:2])
    assert len(await box.list_events(to)) == 8
    await writer.write("one", b"\2", EVENTS)
    await writer.write("one", b"\3", EVENTS)
    assert [event.id for event in await box.list_events(to)].count("mine") == 1


async def test_events_go_to_the_recipients_that_the_function_tells(local_client: AsyncClient) -> None:
    box = EventBox(local_client)

    def to(event: NewEvent) -> Recipient:
        return Recipient(local_client.document(f"a/{event.value.decode()}"), "a")

    await BoxWriter(box, to).write("one", b"\0", EVENTS)
    assert len(await box.list_events(to(EVENTS[0]))) == 2
    assert len(await box.list_events(to(EVENTS[2]))) == 1


async def test_a_log_gets_them_once_and_in_the_order_of_the_block(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    log = EventLog(EventBox(local_client), local_client.document("logs/1"))
    for _ in range(2):
        await LogWriter(log, kind="k").write("one", b"\0", EVENTS)
    await log.order()
    await LogWriter(log, kind=lambda event: event.value.decode()).write("one", b"\1", EVENTS[:1])
    await log.order()
    entries = await log.read()
    assert [(entry.kind, entry.payload) for entry in entries] == [
        ("k", b"x"),
        ("k", b"x"),
        ("k", b"y"),
        ("x", b"x"),
    ]
    with pytest.raises(ValueError, match="process_after"):
        await LogWriter(log, kind="k").write(
            "one", b"\2", [NewEvent(b"", process_after=clock.now() + timedelta(days=1))]
        )
    assert await log.order() == 0


async def test_a_function_gets_the_events_with_ids_that_tell_their_place() -> None:
    calls: list[tuple[str, bytes, Sequence[NewEvent]]] = []

    async def write(ingestor: str, block: bytes, events: Sequence[NewEvent]) -> None:
        calls.append((ingestor, block, events))

    writer = FunctionWriter(write)
    assert isinstance(writer, Writer)
    for ingestor, block in (("a", b"1"), ("a", b"1"), ("a1", b""), ("", b"a1")):
        if ingestor:
            await writer.write(ingestor, block, EVENTS)
    ids = [[event.id for event in events] for _, _, events in calls]
    assert ids[0] == ids[1]
    assert len({*ids[0], *ids[2]}) == 5


async def test_bad_arguments_are_refused(local_client: AsyncClient) -> None:
    box, to = EventBox(local_client), Recipient(local_client.document("a/1"), "a")
    for make in (
        lambda: BoxWriter("box", to),  # type: ignore[arg-type]
        lambda: BoxWriter(box, "a/1"),  # type: ignore[arg-type]
        lambda: LogWriter("log", kind="k"),  # type: ignore[arg-type]
        lambda: LogWriter(EventLog(box, to.ref), kind=1),  # type: ignore[arg-type]
        lambda: FunctionWriter(1),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            make()
    writer = BoxWriter(box, to)
    with pytest.raises(TypeError, match="event 1 must be a NewEvent"):
        await writer.write("a", b"1", [NewEvent(b""), b""])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="block"):
        await writer.write("a", "1", [])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name"):
        await writer.write("", b"1", [])
    with pytest.raises(TypeError, match="must give a Recipient"):
        await BoxWriter(box, lambda event: None).write("a", b"1", EVENTS)  # type: ignore[arg-type, return-value]
    assert not await box.list_events(to)
