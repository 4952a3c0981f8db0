from __future__ import annotations

import pytest
from google.cloud.firestore import AsyncClient

from eventbox import EventBox
from eventbox.log import EventLog
from eventbox.testing import ManualClock


@pytest.fixture
def log(box: EventBox, client: AsyncClient) -> EventLog:
    """A log over each front."""
    return EventLog(box, client.document("logs/main"))


@pytest.fixture
def local_box(local_client: AsyncClient, clock: ManualClock) -> EventBox:
    """A box on `emulator` and `clock`."""
    return EventBox(local_client, clock=clock)


@pytest.fixture
def local_log(local_box: EventBox, local_client: AsyncClient) -> EventLog:
    """A log on `emulator` and `clock`."""
    return EventLog(local_box, local_client.document("logs/main"))
