"""The job on Procrastinate, a task queue in PostgreSQL: one job an event, with its recipient as `lock`.

As a good engineer would write it. A worker marks a job as done in a transaction of its own, after the task's: one that
dies in between has the job run again. So the task notes each event as handled, in one statement with the counters that
it changes: that statement is the transaction, and one round trip. All share one pool, which does not try a connection
each time it hands it out, and jobs that succeeded are deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

import procrastinate
from psycopg_pool import AsyncConnectionPool

from benchmarks.peers.job import EMITTERS, VALUE, Job, Peer, by_callers
from benchmarks.peers.postgres import PostgresServer

_CONNECTIONS = 12
"""In the pool: more made it slower, for PostgreSQL has one core."""

_POLLING_S = 0.05
"""How soon a worker looks again that found all jobs locked. Nobody tells it when a lock comes free."""

_TABLES = """
CREATE TABLE handled (event text PRIMARY KEY);
CREATE TABLE counters (recipient text PRIMARY KEY, events bigint NOT NULL, bytes bigint NOT NULL);
"""

_COUNT = """
WITH fresh AS (INSERT INTO handled (event) VALUES (%(event)s) ON CONFLICT DO NOTHING RETURNING event)
INSERT INTO counters AS old (recipient, events, bytes) SELECT %(recipient)s, 1, %(bytes)s FROM fresh
ON CONFLICT (recipient) DO UPDATE SET events = old.events + 1, bytes = old.bytes + excluded.bytes
"""


class ProcrastinateJob:
    """The job in tables of its own."""

    def __init__(self, job: Job, app: procrastinate.App, pool: AsyncConnectionPool) -> None:
        self._job = job
        self._app = app
        self._pool = pool
        self._handled = 0
        self._all_handled = asyncio.Event()
        self._task = app.task(name="count")(self._count)

    async def emit(self) -> None:
        await by_callers(EMITTERS, self._defer, range(self._job.events))

    async def process(self, concurrency: int, seconds: float) -> int:
        worker = asyncio.create_task(
            self._app.run_worker_async(
                concurrency=concurrency,
                delete_jobs="successful",
                fetch_job_polling_interval=_POLLING_S,
                install_signal_handlers=False,
            )
        )
        handled = asyncio.create_task(self._all_handled.wait())
        try:
            await asyncio.wait({worker, handled}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return self._handled
        finally:
            handled.cancel()
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker

    async def counts(self) -> Mapping[str, int]:
        async with self._pool.connection() as connection:
            rows = await connection.execute("SELECT recipient, events FROM counters")
            return dict(await rows.fetchall())

    async def _defer(self, event: int) -> None:
        recipient = self._job.recipient_of(event)
        await self._task.configure(lock=recipient).defer_async(
            event=f"event-{event}", recipient=recipient, value=VALUE
        )

    async def _count(self, event: str, recipient: str, value: str) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(_COUNT, {"event": event, "recipient": recipient, "bytes": len(value)})
        self._handled += 1
        if self._handled >= self._job.events:
            self._all_handled.set()


@asynccontextmanager
async def served(*, sync: bool) -> AsyncIterator[Peer]:
    """A PostgreSQL on a core of its own.

    Without `sync`, commits do not wait for the disk: then they are as durable as those of the emulator's folder.
    """
    with PostgresServer() as server:
        yield partial(_begun, server.conninfo + ("" if sync else " options='-c synchronous_commit=off'"))


@asynccontextmanager
async def _begun(conninfo: str, job: Job) -> AsyncIterator[ProcrastinateJob]:
    async with AsyncConnectionPool(conninfo, min_size=_CONNECTIONS, open=False) as pool:
        await pool.wait()
        async with pool.connection() as connection:
            await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public;" + _TABLES)
        app = procrastinate.App(connector=procrastinate.PsycopgConnector())
        async with app.open_async(pool):
            await app.schema_manager.apply_schema_async()
            yield ProcrastinateJob(job, app, pool)
