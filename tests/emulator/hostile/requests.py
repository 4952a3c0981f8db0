"""Requests in bytes, sent to the emulator as a hostile client does, and what comes of them."""

from __future__ import annotations

from pathlib import Path

import grpc
from grpc import StatusCode

from emulator.firestore import protos
from emulator.firestore.service import STREAMING, UNARY
from emulator.process import EmulatorProcess

DATABASE = "projects/p/databases/(default)"


ROOT = f"{DATABASE}/documents"


RPCS = {**UNARY, **STREAMING}


INVALID = StatusCode.INVALID_ARGUMENT


async def send(channel: grpc.aio.Channel, rpc: str, data: bytes) -> tuple[StatusCode, str]:
    """What comes of a call with these bytes."""
    method = f"/google.firestore.v1.Firestore/{rpc}"
    try:
        if rpc in UNARY:
            await channel.unary_unary(method)(data, timeout=60)
        else:
            async for _ in channel.unary_stream(method)(data, timeout=60):
                pass
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return StatusCode.OK, ""


async def answers(channel: grpc.aio.Channel) -> bool:
    """Whether the server does its work for an honest client."""
    write = protos.Write(update=protos.Document(name=f"{ROOT}/honest/1"))
    request = protos.CommitRequest(database=DATABASE, writes=[write])
    return await send(channel, "Commit", request.SerializeToString()) == (StatusCode.OK, "")


def resident_mib(process: EmulatorProcess) -> int:
    """The memory that the process has, in MiB; 0 where the system does not tell."""
    assert process._process is not None
    status = Path(f"/proc/{process._process.pid}/status")
    if not status.exists():
        return 0
    lines = status.read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field, as protobuf writes it."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


BAD_NAMES = [
    "", "/", "..", "../../etc/passwd", "projects/p", "projects/../databases/..", f"{ROOT}/", f"{ROOT}/a",
    f"{ROOT}/a/..", f"{ROOT}/../1", f"{ROOT}/a/.", f"{ROOT}/a//", f"{ROOT}//1", f"{ROOT}/a/1/../2", f"{ROOT}/a/__x__",
    f"{ROOT}/a/{'x' * 1_501}", f"{ROOT}/{'a/1/' * 200}a/1", f"{ROOT}/{'/'.join(['a'] * 210)}",
    "projects/\0/databases/d/documents/a/1",
    "projects/../databases/d/documents/a/1", "projects/p/databases/../documents/a/1", f"/{ROOT}/a/1", f"{ROOT}\\a\\1",
    f"projects/{'p' * 1_000}/databases/d/documents/a/1", "x" * 5_000_000,
]  # fmt: skip
"""Names that no document and no database may have."""
