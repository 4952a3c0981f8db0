"""A client of Listen that keeps what it was told, as google's do: raw protos over the client's own channel."""

from __future__ import annotations

from typing import Any

from google.cloud.firestore import AsyncClient

from emulator.firestore import protos

_Op = protos.StructuredQuery.FieldFilter.Operator
_Type = protos.TargetChange.TargetChangeType


class ListeningClient:
    """One stream. `results` maps each target to the versions (update times) that it holds, by document name."""

    def __init__(self, client: AsyncClient) -> None:
        channel = client._firestore_api.transport.grpc_channel
        self.database = client._database_string
        self.root = f"{self.database}/documents"
        self.results: dict[int, dict[str, Any]] = {}
        self.current: set[int] = set()
        self.removed: dict[int, Any] = {}
        self.token = b""
        self.read_time: Any = None
        self.heard: list[Any] = []
        self.call = channel.stream_stream(
            "/google.firestore.v1.Firestore/Listen",
            request_serializer=protos.ListenRequest.SerializeToString,
            response_deserializer=protos.ListenResponse.FromString,
        )(metadata=(("google-cloud-resource-prefix", self.database),))

    async def add(self, target_id: int, query: Any = None, **rest: Any) -> None:
        """Add a target: a structured query, or `documents` by their paths."""
        target = protos.Target(target_id=target_id)
        if query is not None:
            target.query.parent = self.root
            target.query.structured_query.CopyFrom(query)
        if "documents" in rest:
            target.documents.documents.extend(f"{self.root}/{path}" for path in rest.pop("documents"))
        target.MergeFrom(protos.Target(**rest))
        await self.call.write(protos.ListenRequest(database=self.database, add_target=target))

    async def remove(self, target_id: int) -> None:
        await self.call.write(protos.ListenRequest(database=self.database, remove_target=target_id))

    async def hear(self) -> Any:
        """The next response, taken in."""
        response = await self.call.read()
        assert isinstance(response, protos.ListenResponse), response
        self.heard.append(response)
        kind = response.WhichOneof("response_type")
        getattr(self, f"_{kind}")(getattr(response, kind))
        return response

    async def snapshot(self) -> list[str]:
        """Hear on until a snapshot is complete; the kinds of responses heard."""
        begin = len(self.heard)
        while True:
            response = await self.hear()
            change = response.target_change
            if change.HasField("read_time") and not change.target_ids:
                self.token, self.read_time = change.resume_token, change.read_time
                return [one.WhichOneof("response_type") for one in self.heard[begin:]]

    async def snapshot_at(self, time: Any) -> None:
        """Hear snapshots until one is of this time or later."""
        while self.read_time is None or self.read_time.ToNanoseconds() < time.ToNanoseconds():
            await self.snapshot()

    def ids(self, target_id: int) -> list[str]:
        return sorted(name.removeprefix(f"{self.root}/") for name in self.results[target_id])

    def _target_change(self, change: Any) -> None:
        match change.target_change_type:
            case _Type.ADD:
                for target_id in change.target_ids:
                    self.results.setdefault(target_id, {})
            case _Type.REMOVE:
                for target_id in change.target_ids:
                    self.results.pop(target_id, None)
                    self.removed[target_id] = change.cause
            case _Type.RESET:
                for target_id in change.target_ids:
                    self.results[target_id] = {}
                    self.current.discard(target_id)
            case _Type.CURRENT:
                self.current.update(change.target_ids)

    def _document_change(self, change: Any) -> None:
        name, version = change.document.name, change.document.update_time.ToNanoseconds()
        for target_id in change.target_ids:
            assert self.results[target_id].get(name) != version, "told twice"
            self.results[target_id][name] = version
        for target_id in change.removed_target_ids:
            del self.results[target_id][name]

    def _document_delete(self, change: Any) -> None:
        for target_id in change.removed_target_ids:
            del self.results[target_id][change.document]

    _document_remove = _document_delete

    def _filter(self, filter: Any) -> None:
        assert filter.count == len(self.results[filter.target_id])


def query(
    collection: str = "c", at_least: int | None = None, limit: int = 0, offset: int = 0, group: bool = False
) -> Any:
    structured = protos.StructuredQuery(offset=offset)
    structured.from_.add(collection_id=collection, all_descendants=group)
    if at_least is not None:
        compared = structured.where.field_filter
        compared.field.field_path, compared.op = "n", _Op.GREATER_THAN_OR_EQUAL
        compared.value.integer_value = at_least
        structured.order_by.add(direction=2).field.field_path = "n"
    if limit:
        structured.limit.value = limit
    return structured
