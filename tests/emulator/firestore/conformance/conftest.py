from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from emulator.firestore import Emulator
from tests.emulator.firestore.conformance.ways import Way, served, way_to


@pytest.fixture(scope="session")
def conforming() -> Iterator[tuple[Emulator, str]]:
    """An emulator, and the address that it is served at."""
    emulator = Emulator()
    with served(emulator) as address:
        yield emulator, address


@pytest.fixture(params=["in process, async", "in process, sync", "grpc, async", "grpc, sync"])
async def way(request: pytest.FixtureRequest, conforming: tuple[Emulator, str]) -> AsyncIterator[Way]:
    """A way to an empty database."""
    emulator, address = conforming
    emulator.clear()
    async with way_to(request.param, emulator, address) as way:
        yield way
