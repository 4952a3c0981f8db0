"""How far a log has come, while requests fail."""

from __future__ import annotations

import pytest

from emulator.firestore import Emulator, Fault
from eventbox.log import EventLog
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.log.support import append, append_and_order


@pytest.mark.parametrize("rpc", ["GetDocument", "RunQuery", "RunAggregationQuery"])
async def test_an_overview_is_tried_again_by_the_clock_of_the_box(
    local_log: EventLog, emulator: Emulator, clock: ManualClock, rpc: str
) -> None:
    await append_and_order(local_log, "a", "b")
    await append(local_log, "c")
    emulator.faults.add(Fault(rpc=rpc, error="UNAVAILABLE", times=8))
    began = clock.now()
    overview = await while_advancing(clock, local_log.overview())
    assert (overview.next_id, overview.unordered) == (2, 1)
    assert clock.now() > began
