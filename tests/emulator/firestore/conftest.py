from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from google.cloud.firestore import AsyncClient, Client

from emulator.firestore import Emulator
from tests.fronts import connect


@pytest.fixture(params=["in_process", "grpc"])
async def either_client(request: pytest.FixtureRequest, emulator: Emulator) -> AsyncIterator[AsyncClient]:
    """A client of `emulator`, over each of its own fronts for asyncio."""
    if request.param == "in_process":
        yield emulator.client()
    else:
        async with emulator.serving("127.0.0.1:0") as address, connect(address) as client:
            yield client


@pytest.fixture
def sync(emulator: Emulator) -> Client:
    return emulator.sync_client()
