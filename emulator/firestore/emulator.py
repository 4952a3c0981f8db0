"""`Emulator`: a Firestore in this process, for clients in it and outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, Literal

from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.client import Client
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient, FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import (
    FirestoreGrpcAsyncIOTransport,
    FirestoreGrpcTransport,
)

from emulator.channel import InProcessChannel
from emulator.clock import Clock, SystemClock
from emulator.faults import Faults
from emulator.firestore.clearing import ClearingOverHttp
from emulator.firestore.control import Control
from emulator.firestore.counts import Counts
from emulator.firestore.document_lines import document_line, read_documents
from emulator.firestore.faults import Fault
from emulator.firestore.limits import MAX_REQUEST_BYTES
from emulator.firestore.line_files import reading, writing
from emulator.firestore.names import check_database
from emulator.firestore.service import Service
from emulator.front import Front
from emulator.grpc_server import serve
from emulator.status import Status
from emulator.sync_channel import InProcessSyncChannel


class Emulator:
    """A Firestore with any number of projects and databases, empty at first.

        emulator = Emulator()
        client = emulator.client()                       # google's own, without a socket
        async with emulator.serving("127.0.0.1:0") as address:
            ...                                          # the same data for FIRESTORE_EMULATOR_HOST=address

    Args:
        data_dir: a folder that keeps the data, made where it is missing, for one emulator at a time; None: they live
            as long as the object.
        concurrency: how transactions are kept apart that do not say so themselves.
        enforce_indexes: whether a query fails without the indexes that production would ask for: a composite one, or
            one that a field has not by itself. The error says what to add to the file of indexes.
        indexes: a `firestore.indexes.json`, for its TTL policies and, with `enforce_indexes`, its indexes.
        clock: what commit times, expiry, TTL, latency and deadlines go by.
        seed: what transaction IDs are made from (beside a folder they differ each time), and what the faults that
            chance decides go by.

    Raises:
        OSError: the file of indexes cannot be read.
        ValueError: another argument is none of those it may be, the data folder cannot be used (or is in use), or the
            file of indexes is none.
    """

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        concurrency: Literal["pessimistic", "optimistic"] = "pessimistic",
        enforce_indexes: bool = False,
        indexes: Path | None = None,
        clock: Clock | None = None,
        seed: int = 0,
    ) -> None:
        if concurrency not in ("pessimistic", "optimistic"):
            raise ValueError(f'concurrency must be "pessimistic" or "optimistic", not {concurrency!r}')
        self.clock: Any = clock or SystemClock()
        self.data_dir = data_dir
        self.faults = Faults(Fault, seed)
        self._service = Service(
            clock=self.clock,
            data_dir=data_dir,
            concurrency=concurrency,
            indexes=indexes,
            enforce_indexes=enforce_indexes,
            seed=seed,
        )
        self._front = Front(self._service, self.clock, self.faults)

    @property
    def counts(self) -> Counts:
        """RPCs, and operations as they would be billed."""
        return self._service.counts

    def client(self, project: str = "demo", database: str = "(default)") -> AsyncClient:
        """google's asynchronous client on this data, without a socket."""
        client = _InProcessAsyncClient(project=project, database=database, credentials=AnonymousCredentials())
        transport = FirestoreGrpcAsyncIOTransport(channel=InProcessChannel(self._front))
        client._firestore_api_internal = FirestoreAsyncClient(transport=transport)
        client._emulator = self
        return client

    def sync_client(self, project: str = "demo", database: str = "(default)") -> Client:
        """google's synchronous client on this data, without a socket, for any thread."""
        client = Client(project=project, database=database, credentials=AnonymousCredentials())
        transport = FirestoreGrpcTransport(channel=InProcessSyncChannel(self._front))
        client._firestore_api_internal = FirestoreClient(transport=transport)
        return client

    @asynccontextmanager
    async def serving(self, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
        """Serve this data over gRPC while inside; gives the address that it is bound to (port 0: any free one).

        Over HTTP/1.1, `DELETE /emulator/v1/projects/{project}/databases/{database}/documents` clears a database there,
        as it does with the official emulator.

        Raises:
            OSError: the address cannot be bound.
        """
        clearing = ClearingOverHttp(Control(self))
        try:
            async with serve(
                self._front, address, max_request_bytes=MAX_REQUEST_BYTES, http=clearing
            ) as bound:
                yield bound
        finally:
            await clearing.close()

    @asynccontextmanager
    async def controlling(self, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
        """Take orders over HTTP while inside: faults, counters, the clock, and clearing; gives the base URL.

        Tests in any language can use it; see docs/emulator.md. Whoever can reach the address can delete all data.

        Raises:
            OSError: the address cannot be bound.
        """
        from emulator.firestore.control_server import control_server  # its imports take as long as all others

        async with control_server(Control(self), address) as url:
            yield url

    def tick(self) -> None:
        """Do at once what the clock has made due: expire transactions, and delete what TTL policies say.

        Each RPC does so as well.
        """
        with self._service.lock:
            self._service.tick()

    def export_documents(self, target: Path | str | IO[str]) -> int:
        """Write all documents of all databases as lines of JSON, sorted by name; how many.

        Each line is a document as Firestore's REST API represents it, with its times. It is what was there at one
        moment, whatever other threads write meanwhile. A file that was there is replaced once all is written.

        Args:
            target: a file's path, or a text file that is open for writing.

        Raises:
            OSError: the file cannot be written.
        """
        with self._service.lock:
            versions = self._service.documents()
        with writing(target) as lines:
            for version in versions:
                assert version.data is not None
                lines.write(document_line(version.data))
        return len(versions)

    def import_documents(self, source: Path | str | IO[str]) -> int:
        """Put the documents of an export, or of a file of your own, in the place of those of their names; how many.

        All are taken, or none. Other documents stay. They keep the times that stand there, and get this moment's where
        none do; one from the future gets this moment's too. As after `clear`, all transactions end, and what was there
        before cannot be read any more. The import counts no writes. Of two lines with the same name the later holds.

        Args:
            source: a file's path, or a text file that is open for reading.

        Raises:
            InvalidLine: a line is no document, or one that breaks a limit; it tells which line, and what is wrong.
            OSError: the file cannot be read.
            Status: the data folder cannot be written.
        """
        with self._service.lock, reading(source) as lines:
            time_us = self._service.commit_time()
            versions = {version.name: version for version in read_documents(lines, time_us)}
            self._service.replace(list(versions.values()), time_us)
        return len(versions)

    def close(self) -> None:
        """Let go of the data folder, so that another emulator can take it; without one, there is no need to.

        What is written afterwards fails.
        """
        with self._service.lock:
            self._service.close()

    def clear(self, project: str | None = None, database: str = "(default)") -> None:
        """Delete all data, also in the data folder, end all transactions, and forget all faults; the counters stay.

        With a project, delete one database of it and end its transactions: all else stays, faults too.

        Raises:
            Status: the data folder cannot be written.
            ValueError: the names are none of a database.
        """
        if project is None:
            if database != "(default)":
                raise ValueError("a database alone is not enough: name its project too")
            with self._service.lock:
                self._service.clear()
            self.faults.clear()
            return
        try:
            name = check_database(f"projects/{project}/databases/{database}")
        except Status as error:
            raise ValueError(error.message) from None
        with self._service.lock:
            self._service.clear(name)


class _InProcessAsyncClient(AsyncClient):  # type: ignore[misc]
    """An AsyncClient whose synchronous copy (which bulk_writer works with) is on the same engine."""

    _emulator: Emulator

    def _to_sync_copy(self) -> Client:
        if not getattr(self, "_sync_copy", None):
            self._sync_copy = self._emulator.sync_client(self.project, self._database)
        return self._sync_copy
