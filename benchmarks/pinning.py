"""Keeping emulator and client on cores of their own, where the machine lets processes be pinned."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient

from emulator.firestore import Fault
from emulator.process import EmulatorProcess


@asynccontextmanager
async def pinned_emulator(**arguments: Any) -> AsyncIterator[EmulatorProcess]:
    """An emulator process on the first core that this process may use; this process moves to the others meanwhile."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    async with EmulatorProcess(**arguments) as process:
        if len(cores) > 1:
            assert process._process is not None
            os.sched_setaffinity(process._process.pid, {cores[0]})
            os.sched_setaffinity(0, set(cores[1:]))
        try:
            yield process
        finally:
            if len(cores) > 1:
                os.sched_setaffinity(0, set(cores))


@asynccontextmanager
async def latency(process: EmulatorProcess, milliseconds: int) -> AsyncIterator[None]:
    """Let each RPC begin so much later: a round trip's latency, whatever the machine does meanwhile."""
    if not milliseconds:
        yield
        return
    fault = await process.add_fault(Fault(times=None, latency=timedelta(milliseconds=milliseconds)))
    try:
        yield
    finally:
        await process.remove_fault(fault)


def connect(address: str, database: str = "(default)") -> AsyncClient:
    """google's client of an emulator, on a channel of its own; the environment is as before afterwards."""
    with patch.dict(os.environ, {"FIRESTORE_EMULATOR_HOST": address}):
        return AsyncClient(project="demo", database=database, credentials=AnonymousCredentials())


@asynccontextmanager
async def connected(address: str, database: str = "(default)") -> AsyncIterator[AsyncClient]:
    """The same, closed at the end: a channel that outlives its emulator complains on standard error."""
    client = connect(address, database)
    try:
        yield client
    finally:
        await client._firestore_api.transport.close()
