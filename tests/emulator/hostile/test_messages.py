"""A hostile client on an emulator's process: it gets documented errors, and neither stops it nor reaches a file."""

from __future__ import annotations

import base64
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from emulator.firestore import protos
from emulator.process import EmulatorProcess
from tests.emulator.hostile.requests import (
    BAD_NAMES,
    DATABASE,
    INVALID,
    ROOT,
    RPCS,
    answers,
    field,
    resident_mib,
    send,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
