"""Connections that mean no good, and crowds."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from emulator.firestore import protos
from emulator.process import EmulatorProcess
from tests.emulator.hostile.requests import (
    BAD_NAMES,
    DATABASE,
    ROOT,
    answers,
    field,
    resident_mib,
    send,
)
from tests.emulator.raw_http2 import RawConnection
from tests.fronts import connect

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("rpc", ["RunQuery", "Commit", "Listen"])
@pytest.mark.parametrize(("connections", "streams"), [(10, 1_000), (1, 10_000)])
async def test_ten_thousand_idle_streams_leave_others_alone(
    process: EmulatorProcess, channel: grpc.aio.Channel, rpc: str, connections: int, streams: int
) -> None:
    before = resident_mib(process)
    opened = [await RawConnection.open(process.address) for _ in range(connections)]
    for connection in opened:
        for _ in range(streams):
            await connection.call(rpc)
    async with connect(process.address) as client:
        for n in range(20):
            async with asyncio.timeout(10 if n else 60):  # at first it takes up those that came before
                await client.document(f"honest/{n}").set({})
    assert resident_mib(process) - before < 400
    for connection in opened:
        await connection.close()
    assert await answers(channel)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def test_a_burst_of_calls_is_answered_to_the_last(channel: grpc.aio.Channel) -> None:
    calls = [send(channel, "ListCollectionIds", field(1, ROOT.encode())) for _ in range(6_000)]
    assert set(await asyncio.gather(*calls)) == {(StatusCode.OK, "")}


@pytest.mark.parametrize(
    "data",
    [
        b"HELO x\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"\0" * 10_000,
        PREFACE + b"\xff" * 10_000,
        PREFACE + b"\0\0\0\4\0\0\0\0\0\0\0\5\1\4\0\0\0\1\xff\xff\xff\xff\xff",
    ],
)
async def test_what_speaks_no_http2_is_hung_up_on(
    process: EmulatorProcess, channel: grpc.aio.Channel, data: bytes
) -> None:
    host, _, port = process.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    async with asyncio.timeout(30):
        with suppress(ConnectionResetError):
            await reader.read()
    writer.close()
    assert await answers(channel)


async def test_pings_without_end_are_hung_up_on(process: EmulatorProcess, channel: grpc.aio.Channel) -> None:
    connection = await RawConnection.open(process.address)
    ping = b"\0\0\x08\6\0\0\0\0\0" + b"x" * 8
    async with asyncio.timeout(30):
        with suppress(ConnectionError):
            await connection.send(ping * 100)
        await connection.until_closed()
    await connection.close()
    assert await answers(channel)


async def test_a_call_that_is_broken_off_leaves_nothing_behind(
    process: EmulatorProcess, channel: grpc.aio.Channel
) -> None:
    for _ in range(50):
        connection = await RawConnection.open(process.address)
        await connection.call("Commit", b"\xff")
        await connection.call("RunQuery", b"")
        await connection.close()
    assert await answers(channel)


async def test_no_name_reaches_a_file(
    process: EmulatorProcess, channel: grpc.aio.Channel, folder: Path
) -> None:
    for name in [*BAD_NAMES, f"{ROOT}/a\\..\\b/c:1", f"{ROOT}/a/{folder}", f"{ROOT}/a/\0"]:
        write = protos.Write(update=protos.Document(name=name))
        await send(
            channel, "Commit", protos.CommitRequest(database=DATABASE, writes=[write]).SerializeToString()
        )
    assert list(folder.iterdir()) == []
    assert await answers(channel)
