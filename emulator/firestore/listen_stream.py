"""The Listen RPC: one client's stream, with any number of targets on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from grpc import StatusCode

from emulator.bidi_stream import BidiStream
from emulator.firestore import limits, names, protos
from emulator.firestore.counts import Counts
from emulator.firestore.query import Query
from emulator.firestore.store import Store
from emulator.firestore.targets import DocumentsResult, QueryResult, Result, Target
from emulator.firestore.versions import Version, microseconds, timestamp
from emulator.firestore.watchers import Watchers
from emulator.status import Status

_Type = protos.TargetChange.TargetChangeType

_LONG_AGO = -1  # no history goes back so far
_TOKEN = re.compile(rb"(?P<life>[0-9a-f]{32}):(?P<known>[0-9]{1,18})")


@dataclass(slots=True)
class _Event:
    """What happened to one document, for all targets at once."""

    version: Version | None
    shown: list[int] = field(default_factory=list)
    hidden: list[int] = field(default_factory=list)


class ListenStream(BidiStream):
    """One stream.

    A target gets its whole result at first (or what has changed since its resume token), then CURRENT; from then on
    what has changed, in snapshots that are consistent over all targets, each ended by a NO_CHANGE with its read time
    and a resume token. A stream that is read slowly gets fewer and larger snapshots.

    Args:
        store: what it listens to.
        watchers: tells when a collection has changed.
        counts: each document that is sent is a read; so is a result that is empty at first.
        compile_query: makes a Query of a `Target.QueryTarget`; a Status where that is malformed.
    """

    def __init__(
        self, store: Store, watchers: Watchers, counts: Counts, compile_query: Callable[[str, Any], Query]
    ) -> None:
        super().__init__()
        self._store = store
        self._watchers = watchers
        self._counts = counts
        self._compile_query = compile_query
        self._database = ""
        self._targets: dict[int, Target] = {}
        self._changed = False

    def close(self) -> None:
        self._changed = False
        for target in self._targets.values():
            self._watchers.leave(self, target.result)
        self._targets.clear()
        super().close()

    def collection_changed(self) -> None:
        """Something happened in a collection that a target depends on."""
        self._changed = True
        self._wake()

    async def next(self) -> Sequence[Any] | None:
        while True:
            if self._requests:
                responses = list(self._obey(self._requests.popleft()))
                if responses:
                    return responses
            elif self._ended:
                return None
            elif self._changed:
                self._changed = False
                responses = list(self._snapshot())
                if responses:
                    return responses
            else:
                await self._wait()

    def _obey(self, request: Any) -> Iterator[Any]:
        limits.check_request(request)
        if request.database or not self._database:
            database = names.check_database(request.database)
            if self._database not in ("", database):
                raise _invalid("All targets of a stream must be in the same database.")
            self._database = database
        match request.WhichOneof("target_change"):
            case "add_target":
                yield from self._add(request.add_target)
            case "remove_target":
                target = self._targets.pop(request.remove_target, None)
                if target is not None:
                    self._watchers.leave(self, target.result)
                yield _target_change(_Type.REMOVE, [request.remove_target])
            case _:
                raise _invalid("A listen request must add or remove a target.")

    def _add(self, added: Any) -> Iterator[Any]:
        target_id = added.target_id or self._assigned_id()
        if target_id < 0 or target_id in self._targets:
            raise _invalid(f"Target ID {target_id} is in use on this stream, or negative.")
        try:
            result = self._result(added)
            target = Target(target_id, result, added.once)
            self._resume(target, added)
        except Status as status:  # ends the target, not the stream
            cause = protos.RpcStatus(code=status.code.value[0], message=status.message)
            yield _target_change(_Type.REMOVE, [target_id], cause=cause)
            return
        self._targets[target_id] = target
        self._watchers.join(self, result)
        yield _target_change(_Type.ADD, [target_id])
        yield from self._snapshot()
        if target.once:
            del self._targets[target_id]
            self._watchers.leave(self, result)
            yield _target_change(_Type.REMOVE, [target_id])

    def _result(self, added: Any) -> Result:
        match added.WhichOneof("target_type"):
            case "documents":
                wanted = added.documents.documents
                if not wanted:
                    raise _invalid("A documents target must name a document.")
                return DocumentsResult(names.check_document(name, self._database) for name in wanted)
            case "query" if added.query.WhichOneof("query_type") == "structured_query":
                if names.check_parent(added.query.parent) != self._database:
                    raise _invalid(f'"{added.query.parent}" does not lie in "{self._database}".')
                structured = added.query.structured_query
                if structured.select.fields:
                    raise _invalid("'select' clauses are not supported for real-time queries.")
                return QueryResult(self._compile_query(added.query.parent, structured))
        raise _invalid("A target must be a structured query or documents.")

    def _resume(self, target: Target, added: Any) -> None:
        """Find out as of when the client knows the result already."""
        match added.WhichOneof("resume_type"):
            case "resume_token" if added.resume_token:
                token = _TOKEN.fullmatch(added.resume_token)
                if token is None:
                    raise _invalid("bad resume token")
                # of another life of the emulator's nothing is known here
                same = token["life"].decode() == self._store.life
                known_us = int(token["known"]) if same else _LONG_AGO
            case "read_time":
                known_us = microseconds(added.read_time)
            case _:
                return
        if known_us > self._store.read_time():
            raise _invalid("The resume token or read time is in the future.")
        target.known_us, target.resumed = known_us, True

    def _snapshot(self) -> Iterator[Any]:
        """What has changed for all targets, up to now."""
        now_us = self._store.read_time()
        events: dict[str, _Event] = {}
        new: list[Target] = []
        reset = []
        for target in self._targets.values():
            if target.known_us is not None and not target.result.is_known_since(self._store, target.known_us):
                target.known_us, target.current, target.resumed = None, False, False
                reset.append(target.id)
            self._collect(target, events)
            target.known_us = now_us
            if not target.current:
                new.append(target)
        if reset:
            yield _target_change(_Type.RESET, reset)
        self._counts.reads += len(events)
        for name, event in events.items():
            yield self._document_response(name, event, now_us)
        for target in new:
            if target.resumed:
                size = len(target.result.now(self._store))
                yield protos.ListenResponse(filter=protos.ExistenceFilter(target_id=target.id, count=size))
            target.current = True
            yield _target_change(_Type.CURRENT, [target.id], now_us, self._token(now_us))
        if events or new:
            yield _target_change(_Type.NO_CHANGE, [], now_us, self._token(now_us))

    def _collect(self, target: Target, events: dict[str, _Event]) -> None:
        if target.known_us is None:
            present, gone = target.result.now(self._store), []
            if not present:
                self._counts.reads += 1
        else:
            difference = target.result.since(self._store, target.known_us)
            present, gone = difference.present, difference.gone
        for version in present:
            events.setdefault(version.name, _Event(version)).shown.append(target.id)
        for name in gone:
            events.setdefault(name, _Event(self._store.latest(name))).hidden.append(target.id)

    def _document_response(self, name: str, event: _Event, now_us: int) -> Any:
        if event.shown:
            assert event.version is not None
            change = protos.DocumentChange(target_ids=event.shown, removed_target_ids=event.hidden)
            change.document.MergeFromString(event.version.data)
            return protos.ListenResponse(document_change=change)
        kind, field_name = (
            (protos.DocumentDelete, "document_delete")
            if event.version is None
            else (protos.DocumentRemove, "document_remove")
        )
        left = kind(document=name, removed_target_ids=event.hidden, read_time=timestamp(now_us))
        return protos.ListenResponse(**{field_name: left})

    def _token(self, now_us: int) -> bytes:
        return b"%b:%d" % (self._store.life.encode(), now_us)

    def _assigned_id(self) -> int:
        return next(target_id for target_id in count(1) if target_id not in self._targets)


def _target_change(
    kind: int, ids: list[int], now_us: int | None = None, token: bytes = b"", cause: Any | None = None
) -> Any:
    read_time = None if now_us is None else timestamp(now_us)
    change = protos.TargetChange(
        target_change_type=kind, target_ids=ids, read_time=read_time, resume_token=token, cause=cause
    )
    return protos.ListenResponse(target_change=change)


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
