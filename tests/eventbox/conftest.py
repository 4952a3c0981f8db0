from __future__ import annotations

import pytest
from google.cloud.firestore import AsyncClient

from eventbox import EventBox, Recipient
from tests.fronts import client, clock, emulator, local_client

__all__ = ["client", "clock", "emulator", "local_client"]


@pytest.fixture
def box(client: AsyncClient) -> EventBox:
    """A box over each front; a test that needs the emulator's own abilities makes one of `local_client`."""
    return EventBox(client)


@pytest.fixture
def to(client: AsyncClient) -> Recipient:
    """A recipient whose document does not exist."""
    return Recipient(client.document("orders/1"), "order")
