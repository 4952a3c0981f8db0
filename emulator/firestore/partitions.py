"""PartitionQuery: where to cut a collection group, so that its parts can be read side by side.

Production cuts at keys that it has sampled, so a small group is not cut there; here any group is cut as evenly as can
be, and gets as many cursors as are asked for while there are documents enough.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Any

from grpc import StatusCode

from emulator.firestore import names, protos
from emulator.firestore.query import Query, compile_query
from emulator.firestore.store import Store
from emulator.status import Status

_TOKEN = struct.Struct(">QI8s")
"""The time of the first page in microseconds since the epoch, how many cursors came before, and what was asked."""


def compile_partitioned(request: Any) -> Query | None:
    """The query to split; None where it has nothing to split by.

    Raises:
        Status: INVALID_ARGUMENT where production does not split such a query.
    """
    names.check_parent(request.parent)
    if request.partition_count < 1:
        raise _invalid("Partition count must be greater than zero.")
    if request.page_size < 0:
        raise _invalid("Page size must be nonnegative.")
    if request.WhichOneof("query_type") is None:
        raise _invalid("Query is required.")
    structured = request.structured_query
    query = compile_query(request.parent, structured)
    if not request.parent.endswith("/documents") or request.parent.count("/") != 4:
        raise _invalid("Ancestor queries are not supported.")
    if not query.all_descendants:
        raise _invalid("Query must select all descendant collections.")
    for field, what in _REFUSED.items():
        if structured.HasField(field):
            raise _invalid(f"{what} are not supported.")
    if structured.offset:
        raise _invalid("Query offset is not supported.")
    if structured.HasField("limit"):
        raise _invalid("Query limit is not supported.")
    if len(query.orders) > 1 or query.orders[0].descending:
        raise _invalid("Query must be ordered by __name__ ascending.")
    # as production: what does not say its order, or which collections, is not split
    return query if structured.order_by and query.collection_id else None


_REFUSED = {
    "where": "Query filters",
    "select": "Property masks",
    "start_at": "Query start cursors",
    "end_at": "Query end cursors",
    "find_nearest": "Nearest neighbor searches",
}


def partition(request: Any, query: Query | None, store: Store, read_us: int | None) -> Any:
    """The page of cursors. All pages of a request show the documents as they were at its first one."""
    asked = _digest(request)
    begin = 0
    if request.page_token:
        read_us, begin, other = _read(request.page_token)
        if other != asked:
            raise _invalid("Invalid page token.")
        if read_us < store.oldest_us:
            raise Status(StatusCode.FAILED_PRECONDITION, "The requested snapshot version is too old.")
    if query is None:
        return protos.PartitionQueryResponse()
    if read_us is None:
        read_us = store.read_time()
    found = store.indexes.split(query, request.partition_count, store.changed_since(query, read_us))
    end = begin + (request.page_size or len(found))
    response = protos.PartitionQueryResponse()
    for name in found[begin:end]:
        response.partitions.add(values=[protos.Value(reference_value=name)])
    if end < len(found):
        response.next_page_token = base64.urlsafe_b64encode(_TOKEN.pack(read_us, end, asked)).decode()
    return response


def _digest(request: Any) -> bytes:
    """What a request asks, its page aside."""
    asked = protos.PartitionQueryRequest(
        parent=request.parent,
        structured_query=request.structured_query,
        partition_count=request.partition_count,
    )
    if request.HasField("read_time"):
        asked.read_time.CopyFrom(request.read_time)
    return hashlib.blake2b(asked.SerializeToString(deterministic=True), digest_size=8).digest()


def _read(token: str) -> tuple[int, int, bytes]:
    try:
        read_us, begin, asked = _TOKEN.unpack(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except (ValueError, struct.error) as error:
        raise _invalid("invalid page token") from error
    return read_us, begin, asked


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
