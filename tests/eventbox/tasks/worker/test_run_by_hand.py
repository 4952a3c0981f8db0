"""Wake-ups that somebody has run before their second: what they are for then is not lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.eventbox.support import emit
from tests.eventbox.tasks.worker.house import House


async def test_a_wake_up_that_is_run_by_hand_keeps_the_one_that_it_was(house: House) -> None:
    order = house.order()
    due = house.clock.now() + timedelta(days=1)
    await house.worker.send(b"", order, id="later", process_after=due)
    await emit(house.box, order, "now")
    [task] = await house.tasks()

    await house.cloud_tasks.client().run_task({"name": task.name})
    await house.cloud_tasks.drain()
    assert await house.applied(order) == ["now"]
    house.clock.advance(timedelta(days=1))
    await house.let(3)

    assert await house.applied(order) == ["now", "later"]
    assert not await house.tasks()


@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize("ahead", [2, 30])
async def test_one_that_is_run_by_hand_a_little_early_is_kept_too(
    house: House, ahead: int, heard: bool
) -> None:
    sender, order = house.new_queue(), house.order()
    due = house.clock.now() + timedelta(minutes=5)
    await sender.send(b"", order, id="later", process_after=due)
    [task] = await house.tasks()
    house.clock.advance(task.schedule_time - house.clock.now() - timedelta(seconds=ahead))
    if heard:
        await emit(house.box, house.order("other"), "a")
    await house.cloud_tasks.client().run_task({"name": task.name})
    await house.let(ahead + 2)

    assert await house.applied(order) == ["later"]
    assert len(house.runs) == 2
    assert not await house.tasks()
