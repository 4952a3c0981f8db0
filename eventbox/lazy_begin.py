"""How a transaction begins with its first read, though google's client knows no such thing.

google's read methods ask a transaction for its ID and put that into their request. A `Transaction` answers with a
placeholder. `LazyBeginApi` stands before the client's GAPIC API, knows the placeholders of the open transactions, and
lets the transaction itself send the read: its first one with `new_transaction`, the others with the server's ID.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from google.cloud.firestore_v1.async_client import AsyncClient

if TYPE_CHECKING:
    from eventbox.transaction import Transaction


class LazyBeginApi:
    """google's FirestoreAsyncClient, except for reads in a `Transaction`."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._open: WeakValueDictionary[bytes, Transaction] = WeakValueDictionary()

    @staticmethod
    def before(client: AsyncClient) -> LazyBeginApi:
        """The one that stands before this client's API, put there at the first call.

        Needs a running event loop, as google's asynchronous channel does.
        """
        api = client._firestore_api
        if not isinstance(api, LazyBeginApi):
            api = client._firestore_api_internal = LazyBeginApi(api)
        return api

    def register(self, transaction: Transaction) -> None:
        """Know the transaction by its placeholder, for as long as anyone holds it."""
        self._open[transaction.id] = transaction

    async def batch_get_documents(self, request: Any = None, **kwargs: Any) -> Any:
        """As google's."""
        return await self._read(self._api.batch_get_documents, request, kwargs)

    async def run_query(self, request: Any = None, **kwargs: Any) -> Any:
        """As google's."""
        return await self._read(self._api.run_query, request, kwargs)

    async def run_aggregation_query(self, request: Any = None, **kwargs: Any) -> Any:
        """As google's."""
        return await self._read(self._api.run_aggregation_query, request, kwargs)

    async def _read(self, rpc: Any, request: Any, kwargs: dict[str, Any]) -> Any:
        # google's own methods make their requests as dicts; a user's request proto never holds a placeholder
        placeholder = request.get("transaction") if isinstance(request, dict) else None
        transaction = self._open.get(placeholder) if placeholder else None
        if transaction is None:
            return await rpc(request=request, **kwargs)
        return await transaction._read(rpc, request, kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)
