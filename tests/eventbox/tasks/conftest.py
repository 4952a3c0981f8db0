from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.eventbox.tasks.world import Process, World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World() as world:
        yield world


@pytest.fixture
def process(world: World) -> Process:
    """A process whose clock is right."""
    return world.process()
