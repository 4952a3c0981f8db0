"""`listen`: what a document or a query holds, again whenever it changes. google's AsyncClient has no listener."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from google.api_core import exceptions
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.cloud.firestore_v1 import _helpers
from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.async_collection import AsyncCollectionReference
from google.cloud.firestore_v1.async_document import AsyncDocumentReference
from google.cloud.firestore_v1.async_query import AsyncQuery
from google.cloud.firestore_v1.base_document import DocumentSnapshot

from dsset import protos
from dsset.clock import Clock, SystemClock
from dsset.retry import Backoff, is_transient
from dsset.wire import Wire

_log = logging.getLogger(__name__)

_Type = protos.TargetChange.TargetChangeType
_TARGET_ID = 1

_PASSING = (exceptions.Cancelled, exceptions.Unauthenticated)
"""What ends a long stream besides: a server that closes it, a token that expires. google's own listeners go on too."""

Target: TypeAlias = AsyncDocumentReference | AsyncCollectionReference | AsyncQuery


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """What happened to one document of a result since the snapshot before.

    `document` is as it is now; a removed one as it was last seen.
    """

    kind: Literal["added", "modified", "removed"]
    document: DocumentSnapshot


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A result at one moment.

    Attributes:
        documents: all documents in it, by their paths such as "orders/1", in no order.
        changes: what has changed since the snapshot before; at first, everything is added.
        read_time: the server's time as of which it is so.
    """

    documents: Mapping[str, DocumentSnapshot]
    changes: tuple[DocumentChange, ...]
    read_time: datetime


async def listen(
    target: Target, *, clock: Clock | None = None, rng: Random | None = None
) -> AsyncGenerator[Snapshot, None]:
    """What the document, or the query, holds: once at first, then at each change, until the iterator is closed.

        async with contextlib.aclosing(listen(client.collection("orders"))) as snapshots:
            async for snapshot in snapshots:
                ...

    Every snapshot is consistent: the whole result at its read time. Who reads slowly gets fewer snapshots, each with
    all that has changed since the one before; what came and went in between is not told. A stream that breaks is
    opened again where it ended, after 100 ms at first and 10 s at last, for as long as it takes.

    Cost: a read for each document of the first snapshot (one where there is none), and for each that changes; a stream
    that is opened again within half an hour reads only what has changed. Nothing while nothing happens.

    Args:
        target: a document, a collection or a query of an AsyncClient.
        clock: what the waits between attempts go by.
        rng: how long these are, within bounds.

    Raises:
        TypeError, ValueError: it is no such target, or a query with `limit_to_last`: reverse its order instead.
        google.api_core.exceptions.GoogleAPICallError: the server refuses the target (a malformed query, a missing
            index, no permission), or the stream failed in a way that another attempt would not change.
    """
    client, proto = _target(target)
    clock = clock or SystemClock()
    rng = rng or Random()
    view = _View(client)
    while True:
        backoff = Backoff(clock, rng, timedelta.max)
        while not view.progressed:
            proto.ClearField("resume_type")
            if token := view.reopen():
                proto.resume_token = token
            try:
                async with aclosing(Wire.of(client).listen(proto)) as responses:
                    async for response in responses:
                        snapshot = view.take(response)
                        if snapshot is not None:
                            yield snapshot
                        if view.lost:
                            break
            except exceptions.GoogleAPICallError as error:
                if not (is_transient(error) or isinstance(error, _PASSING)):
                    raise
                _log.info("listening was interrupted, and goes on: %s", error)
            await backoff.wait()
        view.progressed = False


class _View:
    """The result as the server has told it so far."""

    def __init__(self, client: AsyncClient) -> None:
        self.lost = False
        """The server counts other documents than we have: the result has to be told anew."""
        self.progressed = False
        """A snapshot was completed since this was last set to False."""
        self._client = client
        self._root = f"{client._database_string}/documents/"
        self._token = b""
        self._shown: dict[str, DocumentSnapshot] | None = None  # by the last snapshot; None before the first
        self._told: dict[str, Any | None] = {}  # since then: documents, and None for those that have left
        self._anew = True  # what is not told again is no longer there
        self._current = False

    def reopen(self) -> bytes:
        """Begin with a new stream; the resume token to open it with."""
        self._told.clear()
        self._current = False
        if self.lost:
            self.lost, self._token = False, b""
        self._anew = not self._token
        return self._token

    def take(self, response: Any) -> Snapshot | None:
        """Take in a response; the snapshot that it completes, if it tells anything new."""
        match response.WhichOneof("response_type"):
            case "target_change":
                return self._target_change(response.target_change)
            case "document_change":
                change = response.document_change
                shown = _TARGET_ID in change.target_ids
                self._told[change.document.name] = change.document if shown else None
            case "document_delete":
                self._told[response.document_delete.document] = None
            case "document_remove":
                self._told[response.document_remove.document] = None
            case "filter":
                self.lost = response.filter.count != self._size()
        return None

    def _target_change(self, change: Any) -> Snapshot | None:
        match change.target_change_type:
            case _Type.REMOVE:
                code, message = change.cause.code, change.cause.message
                raise exceptions.from_grpc_status(code, message or "the server removed the target")
            case _Type.RESET:
                self._told.clear()
                self._anew, self._current, self._token = True, False, b""
            case _Type.CURRENT:
                self._current = True
            case _Type.NO_CHANGE:
                if self._current and not change.target_ids and change.HasField("read_time"):
                    return self._snapshot(change)
        return None

    def _snapshot(self, change: Any) -> Snapshot | None:
        before = self._shown or {}
        if self._anew:
            for path in before:
                self._told.setdefault(self._root + path, None)
        after = dict(before)
        changes = []
        for name, document in self._told.items():
            path = name.removeprefix(self._root)
            old = before.get(path)
            if document is None:
                if old is not None:
                    changes.append(DocumentChange("removed", after.pop(path)))
                continue
            new = after[path] = self._decode(path, document, change.read_time)
            if old is None:
                changes.append(DocumentChange("added", new))
            elif old.update_time != new.update_time:
                changes.append(DocumentChange("modified", new))
        first = self._shown is None
        self._shown, self._token, self._anew = after, change.resume_token, False
        self._told.clear()
        self.progressed = True
        if not changes and not first:
            return None
        read_time = change.read_time.ToDatetime(tzinfo=UTC)
        return Snapshot(MappingProxyType(after), tuple(changes), read_time)

    def _size(self) -> int:
        """How many documents there are, by what was told since the last snapshot."""
        names = set() if self._anew else {self._root + path for path in self._shown or ()}
        for name, document in self._told.items():
            (names.discard if document is None else names.add)(name)
        return len(names)

    def _decode(self, path: str, proto: Any, read_time: Any) -> DocumentSnapshot:
        document = protos.wrap_document(proto)  # its times are what google's own snapshots have
        return DocumentSnapshot(
            reference=self._client.document(path),
            data=_helpers.decode_dict(proto.fields, self._client),
            exists=True,
            read_time=DatetimeWithNanoseconds.from_timestamp_pb(read_time),
            create_time=document.create_time,
            update_time=document.update_time,
        )


def _target(target: Target) -> tuple[AsyncClient, Any]:
    """The target's client, and the Target that the server is asked for."""
    if isinstance(target, AsyncDocumentReference):
        documents = protos.Target.DocumentsTarget(documents=[target._document_path])
        return target._client, protos.Target(target_id=_TARGET_ID, documents=documents)
    query = target._query() if isinstance(target, AsyncCollectionReference) else target
    if not isinstance(query, AsyncQuery):
        raise TypeError(
            f"cannot listen to a {type(target).__name__}: expected a document, a collection or a query of "
            "an AsyncClient"
        )
    if query._limit_to_last:
        raise ValueError("cannot listen to a query with limit_to_last: reverse its order, and use limit")
    parent, _ = query._parent._parent_info()
    asked = protos.Target.QueryTarget(parent=parent, structured_query=query._to_protobuf()._pb)
    return query._client, protos.Target(target_id=_TARGET_ID, query=asked)
