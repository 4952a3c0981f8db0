"""Tasks as Cloud Tasks takes them: raw protobuf messages, which cost a fraction of google's wrapped ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud import tasks_v2
from google.protobuf import duration_pb2, timestamp_pb2

from dsset.documents import microseconds
from eventbox.tasks.task import MAX_TASK_BYTES, MAX_URL_BYTES, Task
from eventbox.tasks.wakeups import PATH, WakeUp

# The classes come from proto-plus at run time, so the type checker cannot see them: `Any` stops at this edge.
TaskProto: Any = tasks_v2.Task.pb()
_HttpRequest: Any = tasks_v2.HttpRequest.pb()
_OidcToken: Any = tasks_v2.OidcToken.pb()
_CreateTaskRequest: Any = tasks_v2.CreateTaskRequest.pb()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POST = tasks_v2.HttpMethod.POST
_JSON: Mapping[str, str] = {"Content-Type": "application/json"}


class Target:
    """Where the tasks of a queue go, and on whose behalf; `audience` is what their tokens are made out for."""

    def __init__(self, url: str, service_account: str | None, *, audience: str) -> None:
        self.url = url
        self.service_account = service_account
        self.audience = audience

    def task(self, task: Task) -> Any:
        """The Task of a user's task, without its name.

        Raises:
            ValueError: Cloud Tasks would not take it, for its size or its headers.
        """
        if self.service_account is not None and any(name.lower() == "authorization" for name in task.headers):
            raise ValueError("the header Authorization bears the token of the queue's service account")
        proto = self._post(task.path, task.body, task.headers, task.deadline)
        if task.eta is not None and task.eta > _EPOCH:
            proto.schedule_time.CopyFrom(timestamp(task.eta))
        if len(proto.http_request.url) > MAX_URL_BYTES:
            raise ValueError(
                f"a task's URL has at most {MAX_URL_BYTES:,} bytes: {proto.http_request.url:.100}..."
            )
        if proto.ByteSize() > MAX_TASK_BYTES:
            raise ValueError(f"a task has at most {MAX_TASK_BYTES:,} bytes in all, not {proto.ByteSize():,}")
        return proto

    def wake_up(self, wake_up: WakeUp, deadline: timedelta) -> Any:
        """The Task of a wake-up, without its name."""
        proto = self._post(PATH, wake_up.encode(), _JSON, deadline)
        proto.schedule_time.seconds = wake_up.second
        return proto

    def _post(self, path: str, body: bytes, headers: Mapping[str, str], deadline: timedelta) -> Any:
        token = None
        if self.service_account is not None:
            token = _OidcToken(service_account_email=self.service_account, audience=self.audience)
        request = _HttpRequest(
            url=self.url + path, http_method=_POST, headers=headers, body=body, oidc_token=token
        )
        duration = duration_pb2.Duration()
        duration.FromTimedelta(deadline)
        return TaskProto(http_request=request, dispatch_deadline=duration)


def create_request(queue: str, name: str, task: Any) -> tasks_v2.CreateTaskRequest:
    """The request to create a task under a name on a queue."""
    request = _CreateTaskRequest(parent=queue, task=task)
    request.task.name = f"{queue}/tasks/{name}"
    return tasks_v2.CreateTaskRequest.wrap(request)


def timestamp(moment: datetime) -> Any:
    """The Timestamp of an aware datetime."""
    seconds, micros = divmod(microseconds(moment), 1_000_000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=micros * 1_000)
