"""google.cloud.tasks.v2.CloudTasks, as a sans-I/O service: requests in, responses or a `Status` out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from grpc import StatusCode

from emulator.bidi_stream import BidiStream
from emulator.rpcs import Rpcs
from emulator.tasks import limits, names, protos
from emulator.tasks.counts import Counts
from emulator.tasks.engine import Engine
from emulator.tasks.pages import page, token_after
from emulator.tasks.queue_filter import queue_filter

_MAX_QUEUES, _MAX_TASKS = 9_800, 1_000
"""A page's."""

_MAX_PAGE_BYTES = 3_000_000
"""Of the tasks of a page, but for a single one: clients take 4 MiB where nobody tells them otherwise."""

_VIEWS = frozenset({0, protos.BASIC, protos.FULL})

UNARY: dict[str, tuple[Any, Any]] = {
    "CreateQueue": (protos.CreateQueueRequest, protos.Queue),
    "CreateTask": (protos.CreateTaskRequest, protos.Task),
    "DeleteQueue": (protos.DeleteQueueRequest, protos.Empty),
    "DeleteTask": (protos.DeleteTaskRequest, protos.Empty),
    "GetQueue": (protos.GetQueueRequest, protos.Queue),
    "GetTask": (protos.GetTaskRequest, protos.Task),
    "ListQueues": (protos.ListQueuesRequest, protos.ListQueuesResponse),
    "ListTasks": (protos.ListTasksRequest, protos.ListTasksResponse),
    "PauseQueue": (protos.PauseQueueRequest, protos.Queue),
    "PurgeQueue": (protos.PurgeQueueRequest, protos.Queue),
    "ResumeQueue": (protos.ResumeQueueRequest, protos.Queue),
    "RunTask": (protos.RunTaskRequest, protos.Task),
    "UpdateQueue": (protos.UpdateQueueRequest, protos.Queue),
}
"""The RPCs, by their short names: the classes of request and response."""

_IAM = "The emulator has no IAM: everybody may do everything."
_BATCHES = "The emulator creates and deletes tasks one by one: it has no long-running operations."
_KEYS = "The emulator encrypts nothing: it has no customer-managed keys."

RPCS = Rpcs(
    "google.cloud.tasks.v2.CloudTasks",
    UNARY,
    missing={
        "GetIamPolicy": _IAM,
        "SetIamPolicy": _IAM,
        "TestIamPermissions": _IAM,
        "BatchCreateTasks": _BATCHES,
        "BatchDeleteTasks": _BATCHES,
        "GetOperation": _BATCHES,
        "GetCmekConfig": _KEYS,
        "UpdateCmekConfig": _KEYS,
        "GetLocation": "The emulator has every location that is asked for, and no list of them.",
        "ListLocations": "The emulator has every location that is asked for, and no list of them.",
    },
)


class Encoded:
    """A response as it was at one moment, encoded."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def SerializeToString(self) -> bytes:  # noqa: N802 - as messages have it
        return self._data


class Service:
    """The RPCs on an engine. None of them waits."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.lock = engine.lock
        self.rpcs = RPCS
        self.counts = Counts()
        self._calls: dict[str, Callable[[Any], Any]] = {
            "CreateQueue": self._create_queue,
            "CreateTask": self._create_task,
            "DeleteQueue": self._delete_queue,
            "DeleteTask": self._delete_task,
            "GetQueue": lambda request: engine.queue(request.name).message,
            "GetTask": self._get_task,
            "ListQueues": self._list_queues,
            "ListTasks": self._list_tasks,
            "PauseQueue": lambda request: engine.set_paused(request.name, True).message,
            "PurgeQueue": lambda request: engine.purge_queue(request.name).message,
            "ResumeQueue": lambda request: engine.set_paused(request.name, False).message,
            "RunTask": self._run_task,
            "UpdateQueue": self._update_queue,
        }

    def called(self, rpc: str) -> None:
        """Count a call, whatever becomes of it."""
        self.counts.rpcs[rpc] += 1

    def pause_before(self, rpc: str, request: Any) -> timedelta | None:
        """None: an RPC is begun when it comes."""
        return None

    def refused(self, request: Any, code: StatusCode) -> None:
        """Nothing changes."""

    async def unary(self, rpc: str, request: Any, received: int | None = None) -> Any:
        """The response of an RPC; a Status where it fails."""
        self.engine.tick()
        limits.check_request(request)
        return self._calls[rpc](request)

    async def stream(self, rpc: str, request: Any) -> Iterator[Any]:
        """There are no streams here."""
        raise RPCS.unimplemented(rpc)

    def converse(self, rpc: str) -> BidiStream:
        """There are no streams here."""
        raise RPCS.unimplemented(rpc)

    def tick(self) -> None:
        """Do what the clock has made due, but for dispatching."""
        self.engine.tick()

    def next_expiry(self) -> timedelta | None:
        """None: no RPC waits for anything."""
        return None

    # Queues -------------------------------------------------------------------------------------------------

    def _create_queue(self, request: Any) -> Any:
        name = request.queue.name
        if names.location_of(name) != names.check_location(request.parent):
            raise limits.invalid(
                f"The location from request ('{request.parent}') must be the same as the location in the name of the "
                f"queue ('{name}')."
            )
        return self.engine.create_queue(name, request.queue).message

    def _update_queue(self, request: Any) -> Any:
        return self.engine.update_queue(request.queue.name, request.queue, request.update_mask).message

    def _delete_queue(self, request: Any) -> Any:
        self.engine.delete_queue(request.name)
        return protos.Empty()

    def _list_queues(self, request: Any) -> Any:
        prefix = f"{names.check_location(request.parent)}/queues/"
        wanted = queue_filter(request.filter)
        queues = self.engine.queues
        found = [name for name in queues if name.startswith(prefix) and wanted(queues[name].message)]
        chosen, token = page(found, request.page_size, request.page_token, _MAX_QUEUES)
        return protos.ListQueuesResponse(
            queues=[queues[name].message for name in chosen], next_page_token=token
        )

    # Tasks --------------------------------------------------------------------------------------------------

    def _create_task(self, request: Any) -> Any:
        view = _view(request)
        names.check_queue(request.parent)
        return Encoded(self.engine.create_task(request.parent, request.task).view(view))

    def _get_task(self, request: Any) -> Any:
        view = _view(request)
        return Encoded(self.engine.task(request.name)[1].view(view))

    def _run_task(self, request: Any) -> Any:
        view = _view(request)
        return Encoded(self.engine.run_task(request.name).view(view))

    def _delete_task(self, request: Any) -> Any:
        self.engine.delete_task(request.name)
        return protos.Empty()

    def _list_tasks(self, request: Any) -> Any:
        view = _view(request)
        queue = self.engine.queue(request.parent)
        chosen, token = page(queue.tasks, request.page_size, request.page_token, _MAX_TASKS)
        response = protos.ListTasksResponse(next_page_token=token)
        size = 0
        for index, task_id in enumerate(chosen):
            data = queue.tasks[task_id].view(view)
            size += len(data)
            if index and size > _MAX_PAGE_BYTES:
                response.next_page_token = token_after(chosen[index - 1])
                break
            response.tasks.add().MergeFromString(data)
        return response


def _view(request: Any) -> int:
    view: int = request.response_view
    if view not in _VIEWS:
        raise limits.invalid(f"response_view {view} is none that there is.")
    return view
