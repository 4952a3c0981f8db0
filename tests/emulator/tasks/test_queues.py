from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.tasks_v2 import CloudTasksAsyncClient, Queue
from google.protobuf import duration_pb2, field_mask_pb2

from emulator.manual_clock import ManualClock
from emulator.tasks import TasksEmulator
from tests.emulator.tasks.recording_worker import http

PARENT = "projects/p-1/locations/europe-west1"
NAME = f"{PARENT}/queues/orders"


async def create(client: CloudTasksAsyncClient, name: str = NAME, **fields: Any) -> Queue:
    return await client.create_queue(parent=PARENT, queue={"name": name, **fields})


async def test_a_queue_gets_the_services_defaults(either_client: CloudTasksAsyncClient) -> None:
    queue = await create(either_client)
    assert queue == await either_client.get_queue(name=NAME)
    assert queue.name == NAME
    assert queue.state is Queue.State.RUNNING
    assert queue.rate_limits.max_dispatches_per_second == 500
    assert queue.rate_limits.max_burst_size == 500
    assert queue.rate_limits.max_concurrent_dispatches == 1_000
    assert queue.retry_config.max_attempts == 100
    assert queue.retry_config.min_backoff == timedelta(seconds=0.1)
    assert queue.retry_config.max_backoff == timedelta(hours=1)
    assert queue.retry_config.max_doublings == 16
    assert "purge_time" not in queue


async def test_what_only_the_service_may_set_is_ignored(either_client: CloudTasksAsyncClient) -> None:
    queue = await create(either_client, state="PAUSED", rate_limits={"max_burst_size": 7})
    assert queue.state is Queue.State.RUNNING
    assert queue.rate_limits.max_burst_size == 500


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate_limits": {"max_dispatches_per_second": -1}}, "maxDispatchesPerSecond cannot be negative"),
        ({"rate_limits": {"max_dispatches_per_second": 501}}, "less than or equal to 500"),
        ({"rate_limits": {"max_dispatches_per_second": float("nan")}}, "maxDispatchesPerSecond"),
        ({"rate_limits": {"max_concurrent_dispatches": -1}}, "maxConcurrentDispatches cannot be negative"),
        ({"rate_limits": {"max_concurrent_dispatches": 5_001}}, "less than or equal to 5000"),
        ({"retry_config": {"max_attempts": -2}}, "maxAttempts must be greater or equal to -1"),
        ({"retry_config": {"max_doublings": -1}}, "maxDoublings cannot be negative"),
        ({"retry_config": {"min_backoff": timedelta(seconds=-1)}}, "minBackoff cannot be negative"),
        (
            {"retry_config": {"min_backoff": timedelta(seconds=3), "max_backoff": timedelta(seconds=2)}},
            "minBackoff must be less than or equal to RetryConfig.maxBackoff",
        ),
        (
            {"retry_config": {"max_retry_duration": duration_pb2.Duration(seconds=10**12)}},
            "maxRetryDuration is no Duration",
        ),
        ({"name": f"{PARENT}/queues/under_score"}, "Queue name must be formatted"),
        ({"name": f"{PARENT}/queues/{'q' * 101}"}, "Queue name must be formatted"),
        ({"name": "orders"}, "Queue name must be formatted"),
        ({"name": ""}, "Queue name must be formatted"),
        ({"name": f"{PARENT}/queues/line\n"}, "Queue name must be formatted"),
        ({"name": "projects/p-1/locations/asia-east1/queues/orders"}, "must be the same as the location"),
    ],
)
async def test_a_queue_that_breaks_a_rule_is_not_made(
    either_client: CloudTasksAsyncClient, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=message):
        await create(either_client, **fields)
    assert [queue async for queue in await either_client.list_queues(parent=PARENT)] == []


async def test_a_name_is_taken_once(either_client: CloudTasksAsyncClient) -> None:
    await create(either_client)
    with pytest.raises(exceptions.AlreadyExists, match="Queue already exists"):
        await create(either_client)


async def test_a_deleted_queue_takes_its_name_with_it_for_seven_days(
    either_client: CloudTasksAsyncClient, clock: ManualClock
) -> None:
    await create(either_client)
    task = await either_client.create_task(parent=NAME, task=http())
    await either_client.delete_queue(name=NAME)

    with pytest.raises(exceptions.NotFound):
        await either_client.get_queue(name=NAME)
    with pytest.raises(exceptions.NotFound):
        await either_client.get_task(name=task.name)
    with pytest.raises(exceptions.FailedPrecondition, match="existed too recently"):
        await create(either_client)
    with pytest.raises(exceptions.FailedPrecondition, match="existed too recently"):
        await either_client.update_queue(queue={"name": NAME})

    clock.advance(timedelta(days=7))
    await create(either_client)
    assert [task async for task in await either_client.list_tasks(parent=NAME)] == []


@pytest.mark.parametrize("rpc", ["get_queue", "pause_queue", "resume_queue", "purge_queue", "delete_queue"])
async def test_an_unknown_queue_is_not_found(either_client: CloudTasksAsyncClient, rpc: str) -> None:
    with pytest.raises(exceptions.NotFound):
        await getattr(either_client, rpc)(name=NAME)
    with pytest.raises(exceptions.InvalidArgument, match="Queue name must be formatted"):
        await getattr(either_client, rpc)(name="queues/orders")


async def test_an_update_changes_what_its_mask_names(either_client: CloudTasksAsyncClient) -> None:
    await create(
        either_client, rate_limits={"max_dispatches_per_second": 10}, retry_config={"max_attempts": 7}
    )
    given = {
        "name": NAME,
        "rate_limits": {"max_dispatches_per_second": 20, "max_concurrent_dispatches": 3},
        "retry_config": {"max_attempts": 9, "max_doublings": 0},
        "state": "PAUSED",
    }
    mask = field_mask_pb2.FieldMask(
        paths=["rate_limits.max_dispatches_per_second", "retry_config.max_doublings", "state"]
    )
    queue = await either_client.update_queue(queue=given, update_mask=mask)
    assert queue.rate_limits.max_dispatches_per_second == 20
    assert queue.rate_limits.max_burst_size == 20
    assert queue.rate_limits.max_concurrent_dispatches == 1_000
    assert queue.retry_config.max_attempts == 7
    assert queue.retry_config.max_doublings == 0
    assert queue.state is Queue.State.RUNNING
    assert queue == await either_client.get_queue(name=NAME)


async def test_an_update_without_mask_sets_all_fields(either_client: CloudTasksAsyncClient) -> None:
    await create(
        either_client, rate_limits={"max_dispatches_per_second": 10}, retry_config={"max_attempts": 7}
    )
    queue = await either_client.update_queue(
        queue={"name": NAME, "rate_limits": {"max_concurrent_dispatches": 3}}
    )
    assert queue.rate_limits.max_dispatches_per_second == 500
    assert queue.rate_limits.max_concurrent_dispatches == 3
    assert queue.retry_config.max_attempts == 100


async def test_an_update_of_an_unknown_queue_creates_it(either_client: CloudTasksAsyncClient) -> None:
    queue = await either_client.update_queue(queue={"name": NAME, "retry_config": {"max_attempts": 3}})
    assert queue.retry_config.max_attempts == 3
    assert queue.rate_limits.max_dispatches_per_second == 500
    assert queue == await either_client.get_queue(name=NAME)


async def test_an_update_that_breaks_a_rule_changes_nothing(either_client: CloudTasksAsyncClient) -> None:
    before = await create(either_client)
    with pytest.raises(exceptions.InvalidArgument, match="no field 'colour'"):
        await either_client.update_queue(
            queue={"name": NAME}, update_mask=field_mask_pb2.FieldMask(paths=["colour"])
        )
    with pytest.raises(exceptions.InvalidArgument, match="maxAttempts"):
        await either_client.update_queue(queue={"name": NAME, "retry_config": {"max_attempts": -5}})
    assert before == await either_client.get_queue(name=NAME)


async def test_queues_are_listed_page_by_page_for_their_location(
    either_client: CloudTasksAsyncClient,
) -> None:
    names = [f"{PARENT}/queues/q{number}" for number in range(5)]
    for name in reversed(names):
        await create(either_client, name=name)
    await either_client.create_queue(
        parent="projects/other/locations/europe-west1",
        queue={"name": "projects/other/locations/europe-west1/queues/q0"},
    )

    pages = [
        [queue.name for queue in page.queues]
        async for page in (await either_client.list_queues(request={"parent": PARENT, "page_size": 2})).pages
    ]
    assert pages == [names[:2], names[2:4], names[4:]]
    with pytest.raises(exceptions.InvalidArgument, match="page_token"):
        await either_client.list_queues(request={"parent": PARENT, "page_token": "é"})
    with pytest.raises(exceptions.InvalidArgument, match="page_size"):
        await either_client.list_queues(request={"parent": PARENT, "page_size": -1})
    with pytest.raises(exceptions.InvalidArgument, match="Location name"):
        await either_client.list_queues(parent="projects/p-1")


async def test_queues_are_filtered_by_their_state(client: CloudTasksAsyncClient) -> None:
    await create(client)
    await create(client, name=f"{PARENT}/queues/still")
    await client.pause_queue(name=f"{PARENT}/queues/still")

    async def names(text: str) -> list[str]:
        found = await client.list_queues(request={"parent": PARENT, "filter": text})
        return [queue.name.rpartition("/")[2] async for queue in found]

    assert await names("state: PAUSED") == ["still"]
    assert await names("state=RUNNING") == ["orders"]
    assert await names('state != "RUNNING"') == ["still"]
    assert await names("name:sti") == ["still"]
    for text in ("state: ASLEEP", "rate_limits.max_burst_size > 3"):
        with pytest.raises(exceptions.InvalidArgument, match="filter"):
            await names(text)


async def test_purging_drops_all_tasks_and_tells_when(
    either_client: CloudTasksAsyncClient, tasks: TasksEmulator, clock: ManualClock
) -> None:
    await create(either_client)
    for number in range(3):
        await either_client.create_task(parent=NAME, task=http(name=f"{NAME}/tasks/t{number}"))
    queue = await either_client.purge_queue(name=NAME)

    assert queue.purge_time == clock.now()
    assert [task async for task in await either_client.list_tasks(parent=NAME)] == []
    assert await tasks.drain() == 0
    with pytest.raises(exceptions.AlreadyExists):
        await either_client.create_task(parent=NAME, task=http(name=f"{NAME}/tasks/t1"))


async def test_rights_are_refused_clearly(either_client: CloudTasksAsyncClient) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="no IAM"):
        await either_client.get_iam_policy(request={"resource": NAME}, retry=None)
    with pytest.raises(exceptions.MethodNotImplemented, match="no IAM"):
        await either_client.test_iam_permissions(
            request={"resource": NAME, "permissions": ["cloudtasks.tasks.create"]}, retry=None
        )


def test_a_queue_can_be_made_without_a_client(tasks: TasksEmulator) -> None:
    name = tasks.create_queue("short", rate_limits={"max_concurrent_dispatches": 2})
    assert name == "projects/demo/locations/us-central1/queues/short"
    assert tasks.create_queue(NAME, retry_config={"max_attempts": 2}) == NAME
    assert tasks.sync_client().get_queue(name=NAME).retry_config.max_attempts == 2
    assert tasks.sync_client().get_queue(name=name).rate_limits.max_concurrent_dispatches == 2
    assert not tasks.counts.rpcs["CreateQueue"]
