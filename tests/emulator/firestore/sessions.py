"""Transactions driven RPC by RPC."""

from __future__ import annotations

import asyncio
from typing import Any

from google.cloud.firestore import AsyncClient, FieldFilter

from dsset import protos
from dsset.wire import Wire

PESSIMISTIC = {"read_write": {"concurrency_mode": 2}}
OPTIMISTIC = {"read_write": {"concurrency_mode": 1}}


class Session:
    """One transaction, RPC by RPC."""

    def __init__(self, client: AsyncClient, options: Any = None) -> None:
        self._client = client
        self._options = options or {}
        self.id = b""

    async def begin(self) -> Session:
        self.id = await Wire.of(self._client).begin(protos.TransactionOptions(**self._options))
        return self

    async def get(self, path: str) -> Any:
        found = await self.read(path)
        return found.found.fields["n"].integer_value if found.WhichOneof("result") == "found" else None

    async def query_time(self, collection: str) -> Any:
        """The read time of a query for all documents of a collection."""
        request = {
            "parent": f"{self._client._database_string}/documents",
            "structured_query": {"from_": [{"collection_id": collection}]},
            "transaction": self.id,
        }
        stream = await self._client._firestore_api.run_query(request=request, retry=None)
        responses = [response async for response in stream]
        return responses[0]._pb.read_time

    async def read(self, path: str) -> Any:
        """The BatchGetDocumentsResponse of one document."""
        request = {
            "database": self._client._database_string,
            "documents": [self._client.document(path)._document_path],
            "transaction": self.id,
        }
        stream = await self._client._firestore_api.batch_get_documents(request=request, retry=None)
        (response,) = [response async for response in stream]
        return response._pb

    async def query(self, collection: str, n: int) -> int:
        class Begun:
            in_progress, id, _write_pbs = True, self.id, ()

        query = self._client.collection(collection).where(filter=FieldFilter("n", ">=", n))
        return len([snapshot async for snapshot in query.stream(transaction=Begun())])  # type: ignore[arg-type]

    async def commit(self, *sets: tuple[str, int]) -> None:
        writes = [
            protos.Write(
                update=protos.Document(
                    name=self._client.document(path)._document_path,
                    fields={"n": protos.Value(integer_value=n)},
                )
            )
            for path, n in sets
        ]
        await Wire.of(self._client).commit(writes, transaction=self.id)

    async def rollback(self) -> None:
        await Wire.of(self._client).rollback(self.id)


async def settle() -> None:
    """Let everyone go on who can."""
    for _ in range(20):
        await asyncio.sleep(0)
