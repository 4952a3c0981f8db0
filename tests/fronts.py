"""The ways to a Firestore that the conformance tests run over: in process, by gRPC, and any other emulator.

Import the fixtures into a conftest. `client` runs a test once for each front; `emulator` and `local_client` are for
tests that need the emulator's own abilities: its clock, faults and counters.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator
from eventbox.testing import ManualClock

_VARIABLE = "FIRESTORE_EMULATOR_HOST"
EXTERNAL = os.environ.get(_VARIABLE)
FRONTS = ["in_process", "grpc", *(["external"] if EXTERNAL else [])]


@asynccontextmanager
async def connect(address: str, project: str | None = None) -> AsyncIterator[AsyncClient]:
    """google's own client on an emulator at this address, in a project of its own unless told which."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = address
    try:
        project = project or f"test-{uuid.uuid4().hex[:12]}"
        client = AsyncClient(project=project, credentials=AnonymousCredentials())
        client._firestore_api  # noqa: B018 - its channel is made here, while the variable is set
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
    try:
        yield client
    finally:
        await client._firestore_api.transport.close()


@pytest.fixture(params=FRONTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    """A client on an empty database, over each front."""
    if request.param == "in_process":
        yield Emulator().client()
    elif request.param == "grpc":
        async with Emulator().serving("127.0.0.1:0") as address, connect(address) as client:
            yield client
    else:
        assert EXTERNAL is not None
        async with connect(EXTERNAL) as client:
            yield client


@pytest.fixture
def clock() -> ManualClock:
    """The clock of `emulator`, moved by hand."""
    return ManualClock()


@pytest.fixture
def emulator(clock: ManualClock) -> Emulator:
    """An emulator in process, on `clock`."""
    return Emulator(clock=clock)


@pytest.fixture
def local_client(emulator: Emulator) -> AsyncClient:
    """A client of `emulator`."""
    return emulator.client()
