"""The gRPC server with grpc's own clients: ends of calls, and its own end."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.protobuf.wrappers_pb2 import BytesValue
from grpc import StatusCode

from emulator.firestore import Emulator, protos
from emulator.grpc_call import Call
from emulator.status import Status
from tests.emulator.http2_client import HEADERS, Http2Client, message
from tests.emulator.talking_service import MAX_BYTES, TalkingService, talking
from tests.emulator.until import until
from tests.fronts import connect

SAY, STREAM, TALK = (f"/test.Talking/{rpc}" for rpc in ("Say", "Stream", "Talk"))


@pytest.fixture
def service() -> TalkingService:
    return TalkingService()


@pytest.fixture
async def channel(service: TalkingService) -> AsyncIterator[grpc.aio.Channel]:
    async with talking(service) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


def request(value: bytes) -> bytes:
    return BytesValue(value=value).SerializeToString()


# How calls end ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rpc", ["Say", "Stream"])
async def test_a_deadline_ends_a_call_that_waits_and_its_work(service: TalkingService, rpc: str) -> None:
    async with talking(service) as address, Http2Client.open(address) as client:
        trailers = await client.call(
            message(request(b"wait")), path=f"/test.Talking/{rpc}", grpc_timeout="10m"
        )
        assert (trailers["grpc-status"], trailers["grpc-message"]) == ("4", "Deadline Exceeded")
        await until(lambda: not service.waiting)


async def test_a_deadline_ends_a_stream_both_ways(service: TalkingService) -> None:
    async with talking(service) as address, Http2Client.open(address) as client:
        stream = await client.begin(None, path=TALK, grpc_timeout="10m")
        assert (await client.until_ended(stream))["grpc-status"] == "4"
        await until(lambda: service.talks[0].is_closed)


async def test_a_deadline_that_has_passed_ends_a_call_before_it_waits(service: TalkingService) -> None:
    async with talking(service) as address, Http2Client.open(address) as client:
        assert (await client.call(message(request(b"wait")), grpc_timeout="0n"))["grpc-status"] == "4"
        await until(lambda: not service.waiting)


async def test_a_timeout_without_sense_is_none(service: TalkingService) -> None:
    async with talking(service) as address, Http2Client.open(address) as client:
        for text in ("9" * 5_000 + "S", "soon"):
            stream = await client.begin(message(request(b"x")), path=TALK, grpc_timeout=text)
            assert (await client.until_ended(stream))["grpc-status"] == "0"


@pytest.mark.parametrize("how", ["cancel", "deadline", "disconnect"])
async def test_a_commit_that_waits_for_a_lock_leaves_its_queue(how: str) -> None:
    emulator = Emulator()
    async with emulator.serving("127.0.0.1:0") as address, connect(address) as client:
        api = client._firestore_api.transport
        name = client.document("a/1")._document_path
        begin = protos.BeginTransactionRequest(database=client._database_string)
        transaction = (await api.begin_transaction(begin)).transaction
        reads = protos.BatchGetDocumentsRequest(
            database=client._database_string, documents=[name], transaction=transaction
        )
        async for _ in api.batch_get_documents(reads):
            pass
        writes = [protos.Write(update=protos.Document(name=name))]
        waiting = protos.CommitRequest(database=client._database_string, writes=writes)
        counts = emulator.counts.rpcs
        async with grpc.aio.insecure_channel(address) as other:
            call = other.unary_unary("/google.firestore.v1.Firestore/Commit")(
                waiting.SerializeToString(), timeout=0.2 if how == "deadline" else None
            )
            await until(lambda: counts["Commit"] == 1)
            if how == "cancel":
                call.cancel()
            elif how == "deadline":
                assert await call.code() is StatusCode.DEADLINE_EXCEEDED
        # what stands in the queue would have to be done before the next one
        done = protos.CommitRequest(database=client._database_string, writes=[], transaction=transaction)
        await api.commit(done)
        await api.commit(waiting)
        document = await client.document("a/1").get()
        assert document.update_time == document.create_time


async def test_a_call_that_is_cancelled_before_its_work_has_begun_leaves_nothing(
    service: TalkingService, recwarn: pytest.WarningsRecorder
) -> None:
    """The headers, and what breaks the call off, come in one piece: the task has had no turn in between."""
    async with talking(service) as address, Http2Client.open(address) as client:
        for rpc in ("Say", "Stream", "Talk"):
            stream = client.h2.get_next_available_stream_id()
            client.h2.send_headers(stream, list({**HEADERS, ":path": f"/test.Talking/{rpc}"}.items()))
            client.h2.send_data(stream, message(request(b"wait")), end_stream=True)
            client.h2.reset_stream(stream, 8)
        await client.send()
        assert (await client.call(message(request(b"x"))))["grpc-status"] == "0"
        await until(lambda: not service.waiting)
    gc.collect()
    assert not recwarn.list


@pytest.mark.parametrize(
    "text", ["100 %", "a\nb\tc", "Grüße", "🙂 ende", " at both ends ", "x" * 4_000, "ä" * 1_000]
)
async def test_a_status_message_arrives_as_it_is(
    channel: grpc.aio.Channel, service: TalkingService, text: str
) -> None:
    def fail() -> None:
        raise Status(StatusCode.ABORTED, text)

    service.answers[b"fail"] = fail
    for call in (
        channel.unary_unary(SAY)(request(b"fail")),
        channel.unary_stream(STREAM)(request(b"fail")),
    ):
        assert (await call.code(), await call.details()) == (StatusCode.ABORTED, text)


async def test_a_status_message_too_long_for_headers_is_cut(
    channel: grpc.aio.Channel, service: TalkingService
) -> None:
    """gRPC's clients leave to chance whether they take between 8 and 16 KiB."""

    def fail() -> None:
        raise Status(StatusCode.ABORTED, "ä" * 2_000)

    service.answers[b"fail"] = fail
    for _ in range(20):
        call = channel.unary_unary(SAY)(request(b"fail"))
        assert await call.code() is StatusCode.ABORTED
        assert "ä" * 1_000 + " [...]" in await call.details()


async def test_googles_client_reads_the_same_message() -> None:
    async with Emulator().serving("127.0.0.1:0") as address, connect(address) as client:
        with pytest.raises(exceptions.NotFound) as raised:
            await client.document("a/100 % Grüße 🙂").update({"x": 1})
        assert "100 % Grüße 🙂" in raised.value.message


async def test_calls_that_are_over_are_freed_at_once(service: TalkingService) -> None:
    service.answers[b"parts"] = lambda: iter([bytes(2**16)] * 10)

    def calls() -> list[Call]:
        return [one for one in gc.get_objects() if issubclass(type(one), Call)]

    def kept() -> list[Call]:
        return [one for one in calls() if id(one) not in others]

    gc.collect()
    others = {id(one): one for one in calls()}  # of servers that other tests may have
    gc.disable()  # what a cancelled Listen had yet to send is large, and a collection may be long in coming
    try:
        async with talking(service) as address:
            async with Http2Client.open(address) as client:
                for path in (SAY, STREAM, TALK):
                    assert (await client.call(message(b""), path=path))["grpc-status"] == "0"
                    await client.call(message(request(b"wait")), path=path, grpc_timeout="1m")
                    await client.call(b"broken", path=path)
                await until(lambda: not kept())
                client.acknowledges = False
                for path, data in ((SAY, b"wait"), (STREAM, b"wait"), (STREAM, b"parts"), (TALK, b"x")):
                    await client.begin(message(request(data)), path=path, end=path != TALK)
                await until(lambda: len(kept()) == 4 and service.waiting == 2)
            await until(lambda: not kept())
    finally:
        gc.enable()


# Streams that nobody reads ------------------------------------------------------------------------------------------


async def test_a_stream_makes_no_more_than_its_client_reads(
    channel: grpc.aio.Channel, service: TalkingService
) -> None:
    made = 0

    def parts() -> Iterator[bytes]:
        nonlocal made
        for _ in range(1_000):
            made += 1
            yield bytes(2**16)

    service.answers[b"parts"] = parts
    call = channel.unary_stream(STREAM)(request(b"parts"))
    parts_read = aiter(call)
    await anext(parts_read)
    while True:  # until nothing has been made for as long as a call takes
        before = made
        for _ in range(20):
            await channel.unary_unary(SAY)(request(b"x"))
        if made == before:
            break
    assert made < 500
    assert len([part async for part in parts_read]) == 999
    assert made == 1_000


async def test_who_talks_and_does_not_listen_has_to_wait(service: TalkingService) -> None:
    one = message(request(bytes(2**14)))
    async with talking(service) as address, Http2Client.open(address) as client:
        client.acknowledges = False
        stream = await client.begin(None, path=TALK)
        sent = tries = 0
        while tries < 20:
            tries += 1
            while client.h2.local_flow_control_window(stream) > len(one):
                client.h2.send_data(stream, one[: 2**14])
                client.h2.send_data(stream, one[2**14 :])
                await client.send()
                sent += len(one)
                tries = 0
            await client.ping()
        assert sent < 2 * 2**20
        assert service.talks[0].taken < 32
        assert not client.ended


# The server's end ---------------------------------------------------------------------------------------------------


async def test_stopping_ends_calls_and_leaves_no_task(service: TalkingService) -> None:
    before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        async with talking(service) as address:
            client = await stack.enter_async_context(Http2Client.open(address))
            for rpc in ("Say", "Stream", "Talk"):
                await client.begin(message(request(b"wait")), end=rpc != "Talk", path=f"/test.Talking/{rpc}")
            await until(lambda: service.waiting == 2 and service.talks)
        assert asyncio.all_tasks() == before
        assert not service.waiting
        assert service.talks[0].is_closed
        while await client.hear():
            pass


async def test_stopping_waits_for_nobody(service: TalkingService) -> None:
    """Neither for one that says nothing, nor for one that does not read what is sent to it."""
    before = asyncio.all_tasks()
    service.answers[b"much"] = lambda: iter([bytes(MAX_BYTES)] * 64)
    async with talking(service) as address:
        host, _, port = address.rpartition(":")
        silent = await asyncio.open_connection(host, int(port))
        reader, writer = await asyncio.open_connection(host, int(port), limit=1)
        client = Http2Client(reader, writer)
        client.h2.increment_flow_control_window(2**30)
        client.h2.update_settings({4: 2**30})
        await client.send()
        await client.begin(message(request(b"much")), path=STREAM)
        await until(lambda: service.called_rpcs["Stream"])
    assert asyncio.all_tasks() == before
    assert await silent[0].read() == b""
    for _, one in (silent, (reader, writer)):
        one.close()


async def test_grpcs_clients_are_told_that_the_server_is_gone(service: TalkingService) -> None:
    async with talking(service) as address:
        channel = grpc.aio.insecure_channel(address)
        call = channel.unary_unary(SAY)(request(b"wait"))
        await until(lambda: service.waiting)
    assert await call.code() is StatusCode.UNAVAILABLE
    await channel.close()


# grpc's clients -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        [],
        [
            ("grpc.http2.max_frame_size", 16_384),
            ("grpc.http2.lookahead_bytes", 1),
            ("grpc.http2.bdp_probe", 0),
        ],
        [("grpc.http2.max_frame_size", 2**24 - 1), ("grpc.http2.lookahead_bytes", 2**26)],
        [("grpc.keepalive_time_ms", 1_000), ("grpc.keepalive_permit_without_calls", 1)],
        [("grpc.default_compression_algorithm", 2), ("grpc.default_compression_level", 3)],
    ],
)
async def test_grpcs_clients_get_all_kinds_of_answers(service: TalkingService, options: Any) -> None:
    large = bytes(range(256)) * 4_096 * 3
    service.answers[b"large"] = lambda: [large[at : at + 100_000] for at in range(0, len(large), 100_000)]
    options = [("grpc.max_receive_message_length", -1), *options]
    async with talking(service) as address, grpc.aio.insecure_channel(address, options=options) as channel:
        assert await channel.unary_unary(SAY)(request(large)) == request(large)
        parts = [part async for part in channel.unary_stream(STREAM)(request(b"large"))]
        assert b"".join(BytesValue.FromString(part).value for part in parts) == large
        talk = channel.stream_stream(TALK)()
        for n in range(50):
            await talk.write(request(b"%d" % n * 10_000))
            assert await talk.read() == request(b"%d" % n * 10_000)
        await talk.done_writing()
        assert await talk.read() is grpc.aio.EOF
        many = [channel.unary_unary(SAY)(request(b"%d" % n)) for n in range(500)]
        assert await asyncio.gather(*many) == [request(b"%d" % n) for n in range(500)]


async def test_the_synchronous_client_is_answered_from_threads(service: TalkingService) -> None:
    answers: list[bytes] = []

    def call() -> None:
        with grpc.insecure_channel(address) as channel:
            say = channel.unary_unary(SAY)
            answers.extend(say(request(b"%d" % n)) for n in range(50))
            talk = channel.stream_stream(TALK)(iter([request(b"a"), request(b"b")]))
            assert list(talk) == [request(b"a"), request(b"b")]

    async with talking(service) as address:
        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
    assert sorted(answers) == sorted([request(b"%d" % n) for n in range(50)] * 3)
