"""`TasksEmulator`: a Cloud Tasks in this process, for clients in it and outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.tasks_v2 import CloudTasksAsyncClient, CloudTasksClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import (
    CloudTasksGrpcAsyncIOTransport,
    CloudTasksGrpcTransport,
)

from emulator.channel import InProcessChannel
from emulator.clock import Clock, SystemClock
from emulator.faults import Faults
from emulator.front import Front
from emulator.grpc_server import serve
from emulator.sync_channel import InProcessSyncChannel
from emulator.tasks import protos
from emulator.tasks.asgi_dispatch import AsgiApp
from emulator.tasks.counts import Counts
from emulator.tasks.dispatching import Dispatching
from emulator.tasks.engine import Engine
from emulator.tasks.faults import Fault
from emulator.tasks.journal import FolderJournal
from emulator.tasks.limits import MAX_REQUEST_BYTES
from emulator.tasks.oidc import Signer, SigningKey
from emulator.tasks.service import Service
from emulator.tasks.workers import Workers

LOCATION = "projects/demo/locations/us-central1"
"""Where queues lie that are named by their short names."""


class TasksEmulator:
    """A Cloud Tasks with any number of projects, locations and queues, empty at first.

        emulator = TasksEmulator()
        queue = emulator.create_queue("default")
        emulator.mount("http://worker", app)             # an ASGI application, without a socket
        client = emulator.client()                       # google's own, without a socket
        await client.create_task(parent=queue, task=...)
        await emulator.drain()                           # run all that is due

    Nothing is dispatched unless `drain`, `running` or `serving` does it, but for what RunTask forces.

    Args:
        data_dir: a folder that keeps queues, tasks, names and the key that tokens are signed with, made where it is
            missing, for one emulator at a time; None: they live as long as the object.
        clock: what due times, retries, rates, latency and deadlines go by; tokens go by the time of the wall.
        dedup_window: how long the name of a task that is done or deleted may not be used again.
        seed: what the names of tasks are made from that whoever creates them does not name, and what the faults that
            chance decides go by.

    Raises:
        ValueError: an argument is none of those it may be, or the data folder cannot be used (or is in use).
    """

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        clock: Clock | None = None,
        dedup_window: timedelta = timedelta(hours=24),
        seed: int = 0,
    ) -> None:
        if not isinstance(dedup_window, timedelta) or dedup_window < timedelta(0):
            raise ValueError(f"dedup_window must be a timedelta that is not negative, not {dedup_window!r}")
        self.clock: Any = clock or SystemClock()
        self.data_dir = data_dir
        self.faults = Faults(Fault, seed)
        journal = None if data_dir is None else FolderJournal(data_dir)
        try:
            self._engine = Engine(self.clock, dedup_window, journal, seed)
            self._signer = Signer() if journal is None else Signer(_kept_key(journal))
        except BaseException:
            if journal is not None:
                journal.close()
            raise
        self._service = Service(self._engine)
        self._front = Front(self._service, self.clock, self.faults)
        self._certs_urls: list[str] = []  # of all that serve now, the latest last
        self._workers = Workers(self.clock)
        self._dispatching = Dispatching(
            self._engine, self.clock, self._workers, self._signer, self.faults, self._service.counts
        )

    @property
    def counts(self) -> Counts:
        """RPCs, and dispatches."""
        return self._service.counts

    def client(self) -> CloudTasksAsyncClient:
        """google's asynchronous client on this data, without a socket."""
        transport = CloudTasksGrpcAsyncIOTransport(
            channel=InProcessChannel(self._front), credentials=AnonymousCredentials()
        )
        return CloudTasksAsyncClient(transport=transport)

    def sync_client(self) -> CloudTasksClient:
        """google's synchronous client on this data, without a socket, for any thread."""
        transport = CloudTasksGrpcTransport(
            channel=InProcessSyncChannel(self._front), credentials=AnonymousCredentials()
        )
        return CloudTasksClient(transport=transport)

    def create_queue(self, name: str, *, rate_limits: Any = None, retry_config: Any = None) -> str:
        """Make a queue without a client; its full name. It counts as no RPC.

        Args:
            name: a full name, or a short one, for a queue in projects/demo/locations/us-central1.
            rate_limits: a `google.cloud.tasks_v2.RateLimits`, or a dict of its fields; None: the service's defaults.
            retry_config: a `RetryConfig`, or a dict; None: the service's defaults.

        Raises:
            Status: there is a queue of this name, or was lately, or an argument is none of those it may be.
        """
        full = name if "/" in name else f"{LOCATION}/queues/{name}"
        fields = {"rate_limits": rate_limits, "retry_config": retry_config}
        given = protos.queue_of({key: value for key, value in fields.items() if value is not None})
        with self._engine.lock:
            self._engine.create_queue(full, given)
        return full

    def mount(self, url: str, app: AsgiApp) -> None:
        """Let an ASGI application have the tasks for a base URL, in process; others go out over HTTP.

        What lies below the URL is the application's, and its path is the `root_path`. Of several base URLs the longest
        decides. The application's lifespan is not run. An attempt ends with the whole answer: what the application does
        after it, such as Starlette's background tasks, goes on, and `drain` does not wait for it.

        Args:
            url: such as "http://worker" or "https://service.example/tasks"; the scheme decides nothing but itself.
            app: an ASGI 3 application.

        Raises:
            ValueError: the URL is none, or has a query.
        """
        self._workers.mount(url, app)

    async def drain(self) -> int:
        """Dispatch all that is due until nothing is, also what that creates; how many dispatches that were.

        Rates are ignored, the number of concurrent dispatches is not. A retry is due once its backoff has passed on
        the clock, which this does not move. Tasks of paused queues are not dispatched. What is under way already is
        waited for.

        Raises:
            RuntimeError: a mounted application calls it whose own answer it would wait for.
        """
        self._workers.enter()
        try:
            return await self._dispatching.drain()
        finally:
            await self._workers.leave()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Dispatch in the background while inside, by the queues' rates.

        What is under way at the end is cancelled, and due again.
        """
        self._workers.enter()
        try:
            async with self._dispatching.running():
                yield
        finally:
            await self._workers.leave()

    @asynccontextmanager
    async def serving(
        self, address: str = "127.0.0.1:0", *, certs_address: str | None = None
    ) -> AsyncIterator[str]:
        """Serve this data over gRPC while inside, and dispatch in the background; gives the address it is bound to.

        Args:
            address: where to listen; port 0: any free one.
            certs_address: where to serve the certificates that OIDC tokens are verified with, over HTTP; None: on any
                free port of the same host. `certs_url` has the URL.

        Raises:
            OSError: an address cannot be bound.
        """
        from emulator.tasks.certs_server import certs_server  # HTTP servers take long to import

        host = address.rpartition(":")[0]
        async with (
            serve(self._front, address, max_request_bytes=MAX_REQUEST_BYTES) as bound,
            certs_server(self._signer, certs_address or f"{host}:0") as certs_url,
            self.running(),
        ):
            self._certs_urls.append(certs_url)
            try:
                yield bound
            finally:
                self._certs_urls.remove(certs_url)

    @property
    def certs_url(self) -> str:
        """Where the certificates are while it serves: what google-auth's `verify_token` takes as `certs_url`.

        A JSON Web Key Set is at the same place, with v3 for v1.

        Raises:
            RuntimeError: it is not `serving`.
        """
        if not self._certs_urls:
            raise RuntimeError("there are no certificates to be had: the emulator is not serving")
        return self._certs_urls[-1]

    def clear(self) -> None:
        """Delete all queues and tasks, forget all names and all faults; counters and mounts stay."""
        with self._engine.lock:
            self._engine.clear()
            self._dispatching.forget()
        self.faults.clear()

    def close(self) -> None:
        """Let go of the data folder; without one, there is no need to."""
        with self._engine.lock:
            self._engine.close()


def _kept_key(journal: FolderJournal) -> SigningKey:
    """The key in the folder; a new one where there is none, which is kept."""
    pem = journal.signing_key()
    if pem is not None:
        return SigningKey(pem)
    key = SigningKey.generate()
    journal.keep_signing_key(key.pem)
    return key
