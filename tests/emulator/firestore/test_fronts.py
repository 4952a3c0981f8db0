"""Faults, counters, deadlines, isolation, the clock, TTL: what the emulator has besides Firestore's own."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.firestore import AsyncClient, Client

from dsset import protos
from dsset.wire import Wire
from emulator.clock import SystemClock
from emulator.firestore import Counts, Emulator, Fault
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.fronts import connect


@pytest.fixture
def sync(emulator: Emulator) -> Client:
    return emulator.sync_client()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_fault_happens_as_often_as_it_says_and_does_or_does_not_do_the_work(
    emulator: Emulator, local_client: AsyncClient, when: Any
) -> None:
    fault = emulator.faults.add(Fault(rpc="Commit", error="INTERNAL", when=when, times=2))
    ref = local_client.document("a/1")
    for left in (1, 0):
        with pytest.raises(exceptions.InternalServerError, match=f"fault injected: INTERNAL {when} Commit"):
            await ref.create({})
        assert fault.remaining == left
        assert (await ref.get()).exists == (when == "after")
        await ref.delete() if left == 0 else None
        if when == "after" and left:
            emulator.faults.clear()
            await ref.delete()
            emulator.faults.add(fault.fault)
            break
    emulator.faults.clear()
    await ref.set({})


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_same_faults_meet_the_synchronous_client(emulator: Emulator, sync: Client, when: Any) -> None:
    emulator.faults.add(Fault(rpc="Commit", error="INTERNAL", when=when))
    emulator.faults.add(Fault(rpc="BatchGetDocuments", error="PERMISSION_DENIED", when=when))
    with pytest.raises(exceptions.InternalServerError):
        sync.document("a/1").set({})
    with pytest.raises(exceptions.PermissionDenied):
        sync.document("a/1").get()
    assert sync.document("a/1").get().exists == (when == "after")


async def test_the_same_faults_meet_a_grpc_client(emulator: Emulator) -> None:
    emulator.faults.add(Fault(rpc="Commit", error="INTERNAL", when="after"))
    emulator.faults.add(Fault(rpc="BatchGetDocuments", error="PERMISSION_DENIED"))
    async with emulator.serving("127.0.0.1:0") as address, connect(address) as client:
        with pytest.raises(exceptions.InternalServerError, match="injected"):
            await client.document("a/1").set({})
        with pytest.raises(exceptions.PermissionDenied):
            await client.document("a/1").get()
        assert (await client.document("a/1").get()).exists


async def test_latency_waits_on_the_clock(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    emulator.faults.add(Fault(rpc="*", latency=timedelta(seconds=3), times=2))
    await while_advancing(clock, local_client.document("a/1").set({}))
    await while_advancing(clock, local_client.document("a/1").get())
    assert clock.monotonic() == 6


async def test_late_work_is_done_after_its_sender_got_an_error(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    emulator.faults.add(Fault(rpc="Commit", error="CANCELLED", when="late", latency=timedelta(seconds=3)))
    ref = local_client.document("a/1")
    with pytest.raises(exceptions.Cancelled):
        await ref.set({})
    assert not (await ref.get()).exists
    await while_advancing(clock, clock.sleep(timedelta(seconds=4)))
    assert (await ref.get()).exists


def test_late_work_is_done_for_the_synchronous_client_too() -> None:
    emulator = Emulator()
    sync = emulator.sync_client()
    emulator.faults.add(
        Fault(rpc="Commit", error="CANCELLED", when="late", latency=timedelta(milliseconds=1))
    )
    emulator.faults.add(Fault(rpc="BatchGetDocuments", latency=timedelta(milliseconds=1)))
    with pytest.raises(exceptions.Cancelled):
        sync.document("a/1").set({})
    for _ in range(10_000):
        if sync.document("a/1").get().exists:
            return
    pytest.fail("the late work was never done")


async def test_the_first_fault_that_is_about_an_rpc_meets_it(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    emulator.faults.add(Fault(rpc="RunQuery", error="INTERNAL"))
    first = emulator.faults.add(Fault(rpc="*", error="PERMISSION_DENIED", times=None))
    emulator.faults.add(Fault(rpc="Commit", error="INTERNAL"))
    for _ in range(3):
        with pytest.raises(exceptions.PermissionDenied):
            await local_client.document("a/1").set({})
    first.remove()
    with pytest.raises(exceptions.InternalServerError):
        await local_client.document("a/1").set({})
    await local_client.document("a/1").set({})


@pytest.mark.parametrize(
    "arguments",
    [
        {"rpc": "Comit"},
        {"error": "OK"},
        {"error": "NO_SUCH"},
        {"when": "during"},
        {"when": "late"},
        {"times": 0},
        {"times": 1.5},
        {"latency": 5},
        {"latency": timedelta(-1)},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(arguments: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Fault(**arguments)


def test_what_is_no_fault_is_refused(emulator: Emulator) -> None:
    with pytest.raises(TypeError, match="expected a Fault"):
        emulator.faults.add("Commit")  # type: ignore[arg-type]


async def test_counters_count_what_was_done(emulator: Emulator, local_client: AsyncClient) -> None:
    ref = local_client.document("a/1")
    await ref.set({"n": 1})
    with pytest.raises(exceptions.AlreadyExists):
        await ref.create({})
    await ref.get()
    await local_client.document("a/2").get()
    await local_client.collection("a").get()
    await local_client.collection("b").get()
    await local_client.collection("a").count().get()
    await ref.delete()
    counts = emulator.counts
    assert dict(counts.rpcs) == {"Commit": 3, "BatchGetDocuments": 2, "RunQuery": 2, "RunAggregationQuery": 1}
    assert (counts.reads, counts.writes, counts.deletes) == (5, 1, 1)
    earlier = counts.copy()
    await ref.get()
    difference = counts - earlier
    assert (dict(difference.rpcs), difference.reads) == ({"BatchGetDocuments": 1}, 1)
    assert repr(difference) == "Counts(rpcs={'BatchGetDocuments': 1}, reads=1, writes=0, deletes=0)"
    counts.reset()
    assert repr(counts) == repr(Counts())


async def test_a_deadline_holds_in_process(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    emulator.faults.add(Fault(rpc="Commit", latency=timedelta(hours=1)))
    with pytest.raises(exceptions.DeadlineExceeded):
        await while_advancing(clock, local_client.document("a/1").set({}, retry=None, timeout=2.0))
    assert (
        1 < clock.monotonic() <= 2
    )  # google's client takes off what it has needed itself, by the real clock


async def test_neither_side_sees_later_changes_of_the_others_messages(local_client: AsyncClient) -> None:
    name = local_client.document("a/1")._document_path
    write = protos.Write(update=protos.Document(name=name, fields={"n": protos.Value(integer_value=1)}))
    wire = Wire.of(local_client)
    await wire.commit([write])
    write.update.fields["n"].integer_value = 2
    found = (await wire.batch_get([name]))[name].found
    found.fields["n"].integer_value = 3
    assert (await local_client.document("a/1").get()).to_dict() == {"n": 1}


async def test_an_rpc_that_is_not_there_says_so(local_client: AsyncClient, sync: Client) -> None:
    channel = local_client._firestore_api.transport.grpc_channel
    for call in (
        channel.unary_unary("/google.firestore.v1.Firestore/Nothing")(b""),
        channel.unary_stream("/google.firestore.v1.Firestore/Nowhere")(b""),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="The emulator has no") as caught:
            await (call.read() if hasattr(call, "read") else call)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "has no" in await call.details()
    with pytest.raises(grpc.aio.AioRpcError, match="no Write"):
        await channel.stream_unary("/google.firestore.v1.Firestore/Write")()
    with pytest.raises(grpc.aio.AioRpcError, match="no Talk"):
        await channel.stream_stream("/google.firestore.v1.Firestore/Talk")().read()
    sync_channel = sync._firestore_api.transport.grpc_channel
    with pytest.raises(grpc.RpcError, match="no Nothing"):
        sync_channel.unary_unary("/google.firestore.v1.Firestore/Nothing")(b"")
    with pytest.raises(grpc.RpcError, match="no Talk"):
        sync_channel.stream_stream("/google.firestore.v1.Firestore/Talk")(iter([]))


async def test_calls_behave_as_grpcs_own(emulator: Emulator, local_client: AsyncClient) -> None:
    channel = local_client._firestore_api.transport.grpc_channel
    async with channel:
        assert channel.get_state() is grpc.ChannelConnectivity.READY
        await channel.channel_ready()
        await channel.wait_for_state_change(grpc.ChannelConnectivity.IDLE)
    begin = channel.unary_unary(
        "/google.firestore.v1.Firestore/BeginTransaction",
        request_serializer=protos.BeginTransactionRequest.SerializeToString,
        response_deserializer=protos.BeginTransactionResponse.FromString,
    )
    call = begin(protos.BeginTransactionRequest(database=local_client._database_string), timeout=5)
    done: list[Any] = []
    response = await call
    assert await call == response
    call.add_done_callback(done.append)
    assert (call.done(), call.cancelled(), call.cancel(), done) == (True, False, False, [call])
    assert (await call.code(), call.time_remaining()) == (grpc.StatusCode.OK, 5)
    assert not await call.initial_metadata()
    assert not await call.trailing_metadata()
    emulator.faults.add(Fault(latency=timedelta(seconds=1)))
    cancelled = begin(protos.BeginTransactionRequest(database=local_client._database_string))
    assert cancelled.cancel()
    assert cancelled.cancelled()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await cancelled.code() is grpc.StatusCode.CANCELLED


async def test_a_server_survives_broken_and_giant_messages(emulator: Emulator) -> None:
    async with emulator.serving("127.0.0.1:0") as address, connect(address) as client:
        channel = client._firestore_api.transport.grpc_channel
        commit = channel.unary_unary("/google.firestore.v1.Firestore/Commit")
        for message in (b"\xff" * 100, b"\0" * 50_000_000):
            with pytest.raises(grpc.aio.AioRpcError):
                await commit(message)
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/google.firestore.v1.Firestore/Nothing")(b"")
        await client.document("a/1").set({})


async def test_an_address_that_is_taken_is_an_os_error(emulator: Emulator) -> None:
    async with emulator.serving("127.0.0.1:0") as address:
        with pytest.raises(OSError, match="cannot bind"):
            async with emulator.serving(address):
                pass


async def test_clear_deletes_everything_and_ends_transactions(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    ref = local_client.document("a/1")
    await ref.set({"n": 1})
    transaction = await Wire.of(local_client).begin(protos.TransactionOptions())
    emulator.faults.add(Fault(error="INTERNAL", times=None))
    emulator.clear()
    assert not (await ref.get()).exists
    assert await local_client.collection("a").get() == []
    with pytest.raises(exceptions.InvalidArgument):
        await Wire.of(local_client).commit([], transaction=transaction)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"concurrency": "none"}, ValueError),
    ],
)
def test_what_is_not_there_is_refused_at_once(arguments: Any, error: Any) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        Emulator(**arguments)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"fieldOverrides": 5}', '{"fieldOverrides": [{"ttl": true}]}']
)
def test_a_file_of_indexes_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"x\.json is no firestore\.indexes\.json"):
        Emulator(indexes=path)


async def test_history_is_kept_for_an_hour_and_pruned_as_writes_come(clock: ManualClock) -> None:
    emulator = Emulator(clock=clock)
    client = emulator.client()
    ref = client.document("a/1")
    for n in range(100):
        await ref.set({"n": n})
    then = (await ref.get()).read_time
    store = emulator._service._store
    assert len(store._log) == 100
    clock.advance(timedelta(minutes=59))
    assert (await ref.get(read_time=then)).get("n") == 99
    clock.advance(timedelta(minutes=2))
    with pytest.raises(exceptions.FailedPrecondition, match="too old"):
        await ref.get(read_time=then)
    for n in range(100):
        await client.document("a/2").set({"n": n})
    assert len(store._log) == 100
    latest = store.latest(f"{client._database_string}/documents/a/1")
    assert latest is not None
    assert latest.previous is None
    with pytest.raises(exceptions.InvalidArgument, match="future"):
        await ref.get(read_time=clock.now() + timedelta(hours=1))


async def test_the_system_clock_tells_the_time_and_sleeps() -> None:
    clock = SystemClock()
    before = clock.now(), clock.monotonic()
    await clock.sleep(timedelta(milliseconds=1))
    assert clock.now() > before[0]
    assert clock.monotonic() >= before[1] + 0.001


async def test_a_manual_clock_wakes_sleepers_in_order_and_never_goes_back(clock: ManualClock) -> None:
    woken: list[int] = []

    async def sleep(seconds: int) -> None:
        await clock.sleep(timedelta(seconds=seconds))
        woken.append(seconds)

    sleepers = [asyncio.create_task(sleep(n)) for n in (3, 1, 2, 0, 9)]
    await asyncio.sleep(0)
    sleepers[-1].cancel()
    clock.advance(timedelta(seconds=3))
    await asyncio.gather(*sleepers, return_exceptions=True)
    assert woken == [0, 1, 2, 3]
    assert clock.next_wake is None
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(timedelta(-1))
    with pytest.raises(ValueError, match="aware"):
        ManualClock(clock.now().replace(tzinfo=None))
