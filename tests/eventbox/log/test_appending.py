"""Appending: blind, in and outside transactions, once for each ID, in the order of one process."""

from __future__ import annotations

import asyncio
import pickle
import struct
from datetime import UTC, datetime, timedelta

import pytest
from google.api_core.exceptions import PermissionDenied
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import EmitError, EventBox, Receipt, Recipient, Transaction
from eventbox.log import EventLog, EventPersistence, LogEntry, MalformedEntryError, NewLogEntry
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.log.support import append, append_and_order, order_all, payloads, read_all


async def test_an_entry_comes_back_as_it_was_appended(log: EventLog) -> None:
    before = datetime.now(UTC)
    await log.append("paid", b"\x00\xff", module=("ledger", 7))
    await log.append("päid", b"")
    assert await log.order() == 2
    first, second = await log.read()
    assert (first.id, first.kind, first.module, first.payload) == (0, "paid", ("ledger", 7), b"\x00\xff")
    assert (second.id, second.kind, second.module, second.payload) == (1, "päid", None, b"")
    assert before <= first.logged_at <= second.logged_at <= datetime.now(UTC)
    assert first.logged_at.utcoffset() == timedelta(0)


async def test_nothing_is_in_the_log_before_it_was_ordered(log: EventLog) -> None:
    await append(log, "a")
    assert await log.read() == []
    assert (await log.next_id(), await log.next_trimable_id()) == (0, 0)


async def test_a_persistent_entry_goes_into_both_logs_and_a_trimable_one_into_one(log: EventLog) -> None:
    await append(log, "p0")
    await append(log, "t0", trimable=True)
    await append(log, "p1")
    await log.order()
    assert [(entry.id, entry.payload) for entry in await log.read()] == [(0, b"p0"), (1, b"p1")]
    assert [(entry.id, entry.payload) for entry in await log.read_trimable()] == [
        (0, b"p0"), (1, b"t0"), (2, b"p1"),
    ]  # fmt: skip
    assert (await log.next_id(), await log.next_trimable_id()) == (2, 3)


async def test_an_own_id_appends_once_also_after_it_was_ordered(log: EventLog) -> None:
    await log.append("paid", b"1", id="delivery-1")
    await log.append("paid", b"1", id="delivery-1")
    await log.order()
    await log.append("paid", b"1", id="delivery-1")
    assert await log.order() == 0
    assert len(await log.read()) == 1


async def test_an_entry_of_a_transaction_is_appended_if_and_only_if_that_commits(
    box: EventBox, log: EventLog, client: AsyncClient
) -> None:
    async def fail(transaction: Transaction) -> None:
        await log.append("paid", b"never", transaction=transaction)
        raise RuntimeError

    async def succeed(transaction: Transaction) -> None:
        await log.append("paid", b"once", id="x", transaction=transaction)
        transaction.set(client.document("orders/1"), {"paid": True})

    with pytest.raises(RuntimeError):
        await box.run_in_transaction(fail)
    await box.run_in_transaction(succeed)
    await box.run_in_transaction(succeed)
    await log.order()
    await box.run_in_transaction(succeed)
    await log.order()
    assert payloads(await log.read()) == ["once"]


async def test_googles_own_transactions_do_as_well(log: EventLog, client: AsyncClient) -> None:
    batch = client.transaction()
    await batch._begin()
    await log.append("paid", b"1", transaction=batch)
    await batch._commit()
    await log.order()
    assert payloads(await log.read()) == ["1"]


async def test_entries_of_one_microsecond_keep_their_order_across_steps(local_log: EventLog) -> None:
    # the clock stands still, and more wait than a step takes
    expected = [str(n) for n in range(2_300)]
    for begin in range(0, 2_300, 100):
        await append(local_log, *expected[begin : begin + 100])
    steps = [await local_log.order() for _ in range(4)]
    assert steps == [1_000, 1_000, 300, 0]
    assert payloads(await read_all(local_log)) == expected


async def test_all_logs_of_a_process_for_one_document_share_an_order(
    local_box: EventBox, local_client: AsyncClient
) -> None:
    logs = [EventLog(local_box, local_client.document("logs/main")) for _ in range(3)]
    for n in range(30):
        await append(logs[n % 3], str(n))
    await logs[0].order()
    assert payloads(await logs[1].read()) == [str(n) for n in range(30)]


class Swinging(ManualClock):
    """A clock that is an hour back at every other look."""

    def __init__(self) -> None:
        super().__init__()
        self._back = False

    def now(self) -> datetime:
        self._back = not self._back
        return super().now() - timedelta(hours=self._back)


async def test_the_order_of_one_process_holds_while_its_clock_goes_back(local_client: AsyncClient) -> None:
    log = EventLog(EventBox(local_client, clock=Swinging()), local_client.document("logs/main"))
    for payload in "abcd":
        await append(log, payload)
    await log.order()
    entries = await log.read()
    assert payloads(entries) == list("abcd")
    times = [entry.logged_at for entry in entries]
    assert times == sorted(times)


async def test_entries_of_several_processes_are_ordered_by_their_clocks(clock: ManualClock) -> None:
    emulator = Emulator(clock=clock)
    logs = [
        EventLog(EventBox(client, clock=clock), client.document("logs/main"))
        for client in (emulator.client(), emulator.client())
    ]
    for n in range(10):
        await append(logs[n % 2], str(n))
        clock.advance(timedelta(milliseconds=1))
    await logs[0].order()
    assert payloads(await logs[0].read()) == [str(n) for n in range(10)]


async def test_a_clock_that_is_ahead_neither_delays_an_entry_nor_dates_it_in_the_future(
    emulator: Emulator, clock: ManualClock
) -> None:
    ahead = ManualClock(clock.now() + timedelta(days=400))
    client = emulator.client()
    log = EventLog(EventBox(client, clock=ahead), client.document("logs/main"))
    await append(log, "a")
    ours = EventLog(EventBox(client, clock=clock), client.document("logs/main"))
    assert await ours.order() == 1
    entry = (await ours.read())[0]
    assert abs(entry.logged_at - clock.now()) < timedelta(seconds=1)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_append_whose_answer_was_lost_appends_once(
    local_log: EventLog, emulator: Emulator, clock: ManualClock, when: str
) -> None:
    emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", when=when, times=3))  # type: ignore[arg-type]
    await while_advancing(clock, append(local_log, "a"))
    await order_all(local_log)
    assert payloads(await local_log.read()) == ["a"]


async def test_an_append_that_fails_for_good_says_so(local_log: EventLog, emulator: Emulator) -> None:
    emulator.faults.add(Fault(rpc="BatchWrite", error="PERMISSION_DENIED"))
    with pytest.raises(EmitError):
        await append(local_log, "a")


async def test_what_takes_several_rpcs_keeps_its_order_while_it_is_ordered(
    local_log: EventLog, emulator: Emulator, clock: ManualClock
) -> None:
    expected = [str(n) for n in range(1_200)]
    emulator.faults.add(Fault(rpc="BatchWrite", latency=timedelta(seconds=3)))  # the first is the slowest

    async def keep_ordering() -> None:
        while await local_log.next_id() < len(expected):
            await local_log.order()
            await clock.sleep(timedelta(seconds=1))

    await while_advancing(clock, asyncio.gather(append(local_log, *expected), keep_ordering()))
    assert payloads(await read_all(local_log)) == expected


async def test_an_append_that_fails_in_the_middle_tells_which_of_all_are_there(
    local_log: EventLog, emulator: Emulator
) -> None:
    emulator.faults.add(Fault(rpc="BatchWrite"))  # the first goes well
    emulator.faults.add(Fault(rpc="BatchWrite", error="PERMISSION_DENIED"))
    with pytest.raises(EmitError) as caught:
        await append(local_log, *map(str, range(1_200)))
    assert len(caught.value.receipts) == 500
    assert sorted(caught.value.errors) == list(range(500, 1_200))
    assert isinstance(caught.value.__cause__, PermissionDenied)
    await order_all(local_log)
    assert payloads(await read_all(local_log)) == [str(n) for n in range(500)]


async def test_many_append_at_once_without_contention(log: EventLog) -> None:
    await asyncio.gather(*(log.append("said", str(n).encode()) for n in range(50)))
    await log.order()
    assert sorted(payloads(await log.read()), key=int) == [str(n) for n in range(50)]


async def test_a_sender_gets_the_last_of_the_entries_to_wake_the_worker(
    box: EventBox, client: AsyncClient
) -> None:
    sent = []

    class Sender:
        async def send(
            self,
            value: bytes,
            to: Recipient,
            *,
            id: str | None = None,
            process_after: datetime | None = None,
            transaction: Transaction | None = None,
        ) -> Receipt:
            sent.append(to.path)
            return await box.emit(value, to, id=id, process_after=process_after, transaction=transaction)

    log = EventLog(box, client.document("logs/main"), sender=Sender())
    await log.append("said", b"a")
    await append(log, "b", "c")

    async def append_in(transaction: Transaction) -> None:
        await log.append("said", b"d", transaction=transaction)

    await box.run_in_transaction(append_in)
    assert sent == ["logs/main"] * 3
    report = await box.drain(log.recipient, log.processor())
    assert report.events == 4
    assert payloads(await log.read()) == list("abcd")


def header(persistence: int, kind: int, module: int) -> bytes:
    return struct.pack(">BBqHHq", 1, persistence, 1_900_000_000_000_000, kind, module, 0)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"not an entry",
        b"\x01" * 21,
        b"\x01" * 22,
        b"\x01\x02" + bytes(20),
        header(2, 1, 0) + b"\xff",  # a kind that nobody could read any more, once it was ordered
        header(2, 1, 1) + b"k\xff",
        header(0, 1, 0) + b"k",  # a transient one
        header(3, 1, 0) + b"k",
        header(2, 0, 0) + b"payload",
        header(2, 5, 0) + b"k",
    ],
)
async def test_what_is_no_entry_blocks_nobody_and_is_told_in_the_end(
    box: EventBox, log: EventLog, value: bytes
) -> None:
    await box.emit(value, log.recipient, id="stray")
    await append(log, "a", "b")
    assert await log.order() == 2
    assert payloads(await log.read()) == ["a", "b"]
    with pytest.raises(MalformedEntryError, match="stray") as caught:
        await log.order()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert [event.id for event in await box.list_events(log.recipient)] == ["stray"]


async def test_the_module_and_the_persistence_may_differ_in_one_call(log: EventLog) -> None:
    await log.append_many(
        [
            NewLogEntry("a", b"1", module=("m", 2**63 - 1)),
            NewLogEntry("b", b"2", persistence=EventPersistence.TRIMABLE),
        ]
    )
    await append_and_order(log, "c")
    assert [(entry.kind, entry.module) for entry in await log.read_trimable()] == [
        ("a", ("m", 2**63 - 1)), ("b", None), ("said", None),
    ]  # fmt: skip


def test_an_entry_can_be_compared_and_kept_in_a_set() -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert LogEntry(0, "a", ("m", 1), at, b"") == LogEntry(0, "a", ("m", 1), at, b"")
    assert len({LogEntry(0, "a", None, at, b""), LogEntry(1, "a", None, at, b"")}) == 2
