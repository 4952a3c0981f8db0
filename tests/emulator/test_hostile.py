"""A hostile client on an emulator's process: it gets documented errors, and neither stops it nor reaches a file."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc import StatusCode

from emulator.firestore import protos
from emulator.firestore.service import STREAMING, UNARY
from emulator.process import EmulatorProcess
from tests.emulator.raw_http2 import RawConnection
from tests.fronts import connect

pytestmark = pytest.mark.asyncio(loop_scope="module")

DATABASE = "projects/p/databases/(default)"
ROOT = f"{DATABASE}/documents"
RPCS = {**UNARY, **STREAMING}
INVALID = StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the process runs in."""
    return tmp_path_factory.mktemp("here")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def process(folder: Path) -> AsyncIterator[EmulatorProcess]:
    """One process for all tests: what one of them breaks, the others see."""
    process = EmulatorProcess()
    before = Path.cwd()
    os.chdir(folder)
    try:
        await process.start()
    finally:
        os.chdir(before)
    yield process
    await process.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def channel(process: EmulatorProcess) -> AsyncIterator[grpc.aio.Channel]:
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(process.address, options=unlimited) as channel:
        yield channel


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


# Messages that are none -----------------------------------------------------------------------------------


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field, as protobuf writes it."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def nested(innermost: bytes, depth: int, *numbers: int) -> bytes:
    """A message inside a message, again and again."""
    for _ in range(depth):
        for number in numbers:
            innermost = field(number, innermost)
    return innermost


def commit_of(value: bytes) -> bytes:
    """A CommitRequest that writes a document with this Value."""
    document = field(1, f"{ROOT}/a/1".encode()) + field(2, field(1, b"f") + field(2, value))
    return field(1, DATABASE.encode()) + field(2, field(1, document))


def query_where(where: bytes) -> bytes:
    """A RunQueryRequest with this Filter."""
    return field(1, ROOT.encode()) + field(2, field(3, where))


@pytest.mark.parametrize("rpc", sorted(RPCS))
@pytest.mark.parametrize(
    "data", [b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xc3\x28", bytes(range(256))]
)
async def test_bytes_that_are_no_message_are_an_invalid_argument(
    channel: grpc.aio.Channel, rpc: str, data: bytes
) -> None:
    code, message = await send(channel, rpc, data)
    assert code is INVALID
    assert f"no valid {RPCS[rpc][0].DESCRIPTOR.name}" in message
    assert await answers(channel)


@pytest.mark.parametrize(
    ("rpc", "data"),
    [
        ("Commit", commit_of(nested(b"\x08\x01", 10_000, 1, 9))),  # an array in an array ...
        ("Commit", commit_of(nested(b"\x08\x01", 10_000, 2, 1, 6))),  # a map in a map ...
        ("RunQuery", query_where(nested(b"", 10_000, 2, 1))),  # a composite filter in a composite filter ...
        (
            "RunAggregationQuery",
            field(1, ROOT.encode()) + field(2, field(1, field(3, nested(b"", 10_000, 2, 1)))),
        ),
    ],
)
async def test_what_is_nested_without_end_is_an_invalid_argument(
    channel: grpc.aio.Channel, rpc: str, data: bytes
) -> None:
    code, message = await send(channel, rpc, data)
    assert (code, "nested too deep" in message) == (INVALID, True)
    assert await answers(channel)


@pytest.mark.parametrize("depth", [21, 25, 30])
async def test_values_nested_deeper_than_documents_may_be_are_an_invalid_argument(
    channel: grpc.aio.Channel, depth: int
) -> None:
    value = field(17, b"x")
    for _ in range(depth):
        value = field(6, field(1, field(1, b"f") + field(2, value)))
    code, message = await send(channel, "Commit", commit_of(value))
    assert (code, "more than 20 levels deep" in message) == (INVALID, True)


async def test_filters_nested_as_deep_as_protobuf_lets_them_are_answered(channel: grpc.aio.Channel) -> None:
    unary = field(3, field(2, field(2, b"a")) + b"\x08\x03")
    one_in_one = unary
    for _ in range(40):
        one_in_one = field(1, b"\x08\x01" + field(2, one_in_one))
    code, message = await send(channel, "RunQuery", query_where(one_in_one))
    assert (code, message) == (INVALID, "kind is required for filter: a")


@pytest.mark.parametrize(
    ("mebibytes", "code", "message"),
    [
        (11, INVALID, "Request payload size exceeds the limit"),
        (39, INVALID, "Request payload size exceeds the limit"),
        (100, StatusCode.RESOURCE_EXHAUSTED, "larger than max"),
    ],
)
async def test_a_giant_message_is_refused(
    channel: grpc.aio.Channel, mebibytes: int, code: StatusCode, message: str
) -> None:
    data = commit_of(field(18, b"x" * (mebibytes * 1024 * 1024)))
    got, text = await send(channel, "Commit", data)
    assert (got, message in text) == (code, True)
    assert await answers(channel)


async def test_a_message_that_unpacks_into_a_giant_is_refused(process: EmulatorProcess) -> None:
    options = [("grpc.max_send_message_length", -1)]
    gzip = grpc.Compression.Gzip
    async with grpc.aio.insecure_channel(process.address, options=options, compression=gzip) as channel:
        before = resident_mib(process)
        code, message = await send(channel, "Commit", commit_of(field(18, b"x" * (200 * 1024 * 1024))))
        assert code is StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in message
        assert resident_mib(process) - before < 100
        assert await answers(channel)


# Messages that make no sense ------------------------------------------------------------------------------

BAD_NAMES = [
    "", "/", "..", "../../etc/passwd", "projects/p", "projects/../databases/..", f"{ROOT}/", f"{ROOT}/a",
    f"{ROOT}/a/..", f"{ROOT}/../1", f"{ROOT}/a/.", f"{ROOT}/a//", f"{ROOT}//1", f"{ROOT}/a/1/../2", f"{ROOT}/a/__x__",
    f"{ROOT}/a/{'x' * 1_501}", f"{ROOT}/{'a/1/' * 200}a/1", f"{ROOT}/{'/'.join(['a'] * 210)}",
    "projects/\0/databases/d/documents/a/1",
    "projects/../databases/d/documents/a/1", "projects/p/databases/../documents/a/1", f"/{ROOT}/a/1", f"{ROOT}\\a\\1",
    f"projects/{'p' * 1_000}/databases/d/documents/a/1", "x" * 5_000_000,
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: ascii(name)[:40])
async def test_a_name_that_is_none_is_an_invalid_argument_everywhere(
    channel: grpc.aio.Channel, name: str
) -> None:
    write = protos.Write(update=protos.Document(name=name))
    requests = {
        "Commit": protos.CommitRequest(database=DATABASE, writes=[write]),
        "GetDocument": protos.GetDocumentRequest(name=name),
        "DeleteDocument": protos.DeleteDocumentRequest(name=name),
        "UpdateDocument": protos.UpdateDocumentRequest(document=protos.Document(name=name)),
        "BatchGetDocuments": protos.BatchGetDocumentsRequest(database=DATABASE, documents=[name]),
        "BeginTransaction": protos.BeginTransactionRequest(database=name),
    }
    for rpc, request in requests.items():
        code, message = await send(channel, rpc, request.SerializeToString())
        assert (rpc, code) == (rpc, INVALID)
        assert len(message.encode()) < 5_000
    assert await answers(channel)


BAD_PARENTS = [
    "", "/", "..", DATABASE, f"{ROOT}/", f"{ROOT}/a", f"{ROOT}/a/..", f"{ROOT}//1", f"{ROOT}/a/1/b",
]  # fmt: skip


@pytest.mark.parametrize("parent", BAD_PARENTS)
async def test_a_parent_that_is_none_is_an_invalid_argument_everywhere(
    channel: grpc.aio.Channel, parent: str
) -> None:
    requests = {
        "ListCollectionIds": protos.ListCollectionIdsRequest(parent=parent),
        "ListDocuments": protos.ListDocumentsRequest(parent=parent, collection_id="a"),
        "CreateDocument": protos.CreateDocumentRequest(parent=parent, collection_id="a", document_id="1"),
        "RunQuery": protos.RunQueryRequest(parent=parent, structured_query=protos.StructuredQuery()),
        "RunAggregationQuery": protos.RunAggregationQueryRequest(parent=parent),
    }
    for rpc, request in requests.items():
        code, _ = await send(channel, rpc, request.SerializeToString())
        assert (rpc, code) == (rpc, INVALID)


@pytest.mark.parametrize("id", ["a/1/b", "..", ".", "__x__", "x" * 1_501, "/"])
async def test_an_id_that_is_none_leads_nowhere_else(channel: grpc.aio.Channel, id: str) -> None:
    query = protos.StructuredQuery()
    query.from_.add(collection_id=id)
    requests = [
        ("RunQuery", protos.RunQueryRequest(parent=ROOT, structured_query=query)),
        ("ListDocuments", protos.ListDocumentsRequest(parent=ROOT, collection_id=id)),
        ("CreateDocument", protos.CreateDocumentRequest(parent=ROOT, collection_id=id, document_id="1")),
        ("CreateDocument", protos.CreateDocumentRequest(parent=ROOT, collection_id="a", document_id=id)),
    ]
    for rpc, request in requests:
        code, _ = await send(channel, rpc, request.SerializeToString())
        assert (rpc, code) == (rpc, INVALID)


def query(**parts: Any) -> Any:
    structured = protos.StructuredQuery(**parts)
    structured.from_.add(collection_id="a")
    return protos.RunQueryRequest(parent=ROOT, structured_query=structured)


def where(op: Any, value: Any, path: str = "f") -> Any:
    structured = protos.StructuredQuery()
    filter = structured.where.field_filter
    filter.field.field_path, filter.op = path, op
    filter.value.CopyFrom(value)
    return query(where=structured.where)


def many_filters(count: int) -> Any:
    structured = protos.StructuredQuery()
    structured.where.composite_filter.op = 1
    for n in range(count):
        filter = structured.where.composite_filter.filters.add().field_filter
        filter.field.field_path, filter.op = f"f{n}", 5
        filter.value.integer_value = n
    return query(where=structured.where)


def writing(**fields: Any) -> Any:
    document = protos.Document(name=f"{ROOT}/a/1", fields=fields)
    return protos.CommitRequest(database=DATABASE, writes=[protos.Write(update=document)])


def masking(path: str) -> Any:
    write = protos.Write(update=protos.Document(name=f"{ROOT}/a/1"))
    write.update_mask.field_paths.append(path)
    return protos.CommitRequest(database=DATABASE, writes=[write])


def transforming(path: str) -> Any:
    write = protos.Write(update=protos.Document(name=f"{ROOT}/a/1"))
    write.update_transforms.add(field_path=path, set_to_server_value=1)
    return protos.CommitRequest(database=DATABASE, writes=[write])


def moment(seconds: int, nanos: int) -> Any:
    return protos.Value(timestamp_value=protos.Timestamp(seconds=seconds, nanos=nanos))


def place(latitude: float, longitude: float) -> Any:
    return protos.Value(geo_point_value=protos.LatLng(latitude=latitude, longitude=longitude))


def page(token: str = "", size: int = 0) -> Any:
    return protos.ListDocumentsRequest(parent=ROOT, collection_id="a", page_token=token, page_size=size)


def array(*values: Any) -> Any:
    return protos.Value(array_value=protos.ArrayValue(values=values))


ONE = protos.Value(integer_value=1)
INTS = protos.StructuredQuery.FieldFilter.Operator
NONSENSE: dict[str, tuple[str, Any]] = {
    "limit below 0": ("RunQuery", query(limit=protos.Int32Value(value=-1))),
    "least limit": ("RunQuery", query(limit=protos.Int32Value(value=-(2**31)))),
    "offset below 0": ("RunQuery", query(offset=-(2**31))),
    "page size below 0": ("ListDocuments", page(size=-1)),
    "page of collections below 0": ("ListCollectionIds", protos.ListCollectionIdsRequest(parent=ROOT, page_size=-5)),
    "page token of no encoding": ("ListDocuments", page("é!")),
    "page token of no name": ("ListDocuments", page("YQ==")),
    "page token of another collection": ("ListDocuments", page(base64.b64encode(f"{ROOT}/b/1".encode()).decode())),
    "transaction unknown": ("Commit", protos.CommitRequest(database=DATABASE, transaction=b"\0" * 5_000)),
    "transaction to roll back unknown": ("Rollback", protos.RollbackRequest(database=DATABASE, transaction=b"x")),
    "transaction to read in unknown": ("GetDocument", protos.GetDocumentRequest(name=f"{ROOT}/a/1", transaction=b"x")),
    "no transaction to roll back": ("Rollback", protos.RollbackRequest(database=DATABASE)),
    "unknown operator": ("RunQuery", where(99, ONE)),
    "operator below 0": ("RunQuery", where(-1, ONE)),
    "no operator": ("RunQuery", where(0, ONE)),
    "in of no array": ("RunQuery", where(INTS.IN, ONE)),
    "in of too many": ("RunQuery", where(INTS.IN, array(*[ONE] * 10_000))),
    "too many filters": ("RunQuery", many_filters(101)),
    "far too many filters": ("RunQuery", many_filters(50_000)),
    "name that is no reference": ("RunQuery", where(INTS.EQUAL, ONE, "__name__")),
    "path without end": ("RunQuery", where(INTS.EQUAL, ONE, ".".join(["a"] * 500_000))),
    "path in a mask without end": ("Commit", masking(".".join(["a"] * 500_000))),
    "path of a transform without end": ("Commit", transforming(".".join(["a"] * 500_000))),
    "path of a transform too deep": ("Commit", transforming(".".join(["a"] * 99))),
    "path left open": ("Commit", masking("`" * 99_999)),
    "time before there was any": ("Commit", writing(f=moment(-62135596801, 0))),
    "time after all": ("Commit", writing(f=moment(2**63 - 1, 0))),
    "nanoseconds below 0": ("Commit", writing(f=moment(0, -1))),
    "nanoseconds of a second": ("Commit", writing(f=array(moment(0, 10**9)))),
    "time to compare with before there was any": ("RunQuery", where(INTS.EQUAL, moment(-(2**63), -(2**31)))),
    "latitude too far": ("Commit", writing(f=place(90.1, 0))),
    "longitude that is no number": ("Commit", writing(f=place(0, float("nan")))),
    "place to compare with too far": ("RunQuery", where(INTS.IN, array(place(0, 181)))),
    "too many fields": ("Commit", writing(**{f"f{n}": ONE for n in range(100_000)})),
    "giant field name": ("Commit", writing(**{"f" * 1_501: ONE})),
    "read in the future": (
        "GetDocument",
        protos.GetDocumentRequest(name=f"{ROOT}/a/1", read_time=protos.Timestamp(seconds=2**63 - 1)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NONSENSE)
async def test_nonsense_is_an_invalid_argument(channel: grpc.aio.Channel, what: str) -> None:
    rpc, request = NONSENSE[what]
    code, message = await send(channel, rpc, request.SerializeToString())
    assert code is INVALID
    assert 10 < len(message.encode()) < 5_000
    assert await answers(channel)


@pytest.mark.parametrize(
    ("rpc", "request_"),
    [
        ("RunQuery", query(limit=protos.Int32Value(value=2**31 - 1), offset=2**31 - 1)),
        ("ListDocuments", page(size=2**31 - 1)),
        ("ListCollectionIds", protos.ListCollectionIdsRequest(parent=ROOT, page_size=2**31 - 1)),
        ("ListCollectionIds", protos.ListCollectionIdsRequest(parent=f"{ROOT}/no/such", page_token="\0é")),
        ("Commit", writing(f=moment(253_402_300_799, 999_999_999), g=moment(-62_135_596_800, 0))),
        ("Commit", writing(f=place(-90, 180))),
        ("Commit", writing(**{"\0": ONE, "/../": ONE, "é": array()})),
        ("RunQuery", many_filters(100)),
        ("RunQuery", where(INTS.EQUAL, protos.Value(reference_value=f"{ROOT}/a/__id{'9' * 5_000}__"))),
        ("RunQuery", where(INTS.LESS_THAN, protos.Value(reference_value="__id٣__"))),
    ],
)
async def test_what_is_merely_odd_is_answered(channel: grpc.aio.Channel, rpc: str, request_: Any) -> None:
    assert await send(channel, rpc, request_.SerializeToString()) == (StatusCode.OK, "")


async def test_unknown_services_and_methods_are_unimplemented(channel: grpc.aio.Channel) -> None:
    for method in (
        "/google.firestore.v1.Firestore/Nothing",
        "/x/y",
        "/google.firestore.v1.Firestore/../Commit",
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(method)(b"")
        assert raised.value.code() is StatusCode.UNIMPLEMENTED


# Connections ----------------------------------------------------------------------------------------------


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
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
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
