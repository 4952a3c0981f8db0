"""Google's messages as raw protobuf classes: what the engine speaks, without proto-plus around them."""

from __future__ import annotations

from typing import Any

from google.cloud.tasks_v2.types import cloudtasks, queue as queue_types, target, task as task_types
from google.protobuf import duration_pb2, empty_pb2, field_mask_pb2, timestamp_pb2

# proto-plus makes the classes at run time, so the type checker cannot see them: `Any` stops at this edge.
Queue: Any = queue_types.Queue.pb()
RateLimits: Any = queue_types.RateLimits.pb()
RetryConfig: Any = queue_types.RetryConfig.pb()
Task: Any = task_types.Task.pb()
HttpRequest: Any = target.HttpRequest.pb()
HttpMethod: Any = target.HttpMethod
METHODS: frozenset[int] = frozenset(method.value for method in HttpMethod)
WITH_BODY: frozenset[int] = frozenset({HttpMethod.POST.value, HttpMethod.PUT.value, HttpMethod.PATCH.value})
"""The methods that a request with a body may have."""

CreateQueueRequest: Any = cloudtasks.CreateQueueRequest.pb()
CreateTaskRequest: Any = cloudtasks.CreateTaskRequest.pb()
DeleteQueueRequest: Any = cloudtasks.DeleteQueueRequest.pb()
DeleteTaskRequest: Any = cloudtasks.DeleteTaskRequest.pb()
GetQueueRequest: Any = cloudtasks.GetQueueRequest.pb()
GetTaskRequest: Any = cloudtasks.GetTaskRequest.pb()
ListQueuesRequest: Any = cloudtasks.ListQueuesRequest.pb()
ListQueuesResponse: Any = cloudtasks.ListQueuesResponse.pb()
ListTasksRequest: Any = cloudtasks.ListTasksRequest.pb()
ListTasksResponse: Any = cloudtasks.ListTasksResponse.pb()
PauseQueueRequest: Any = cloudtasks.PauseQueueRequest.pb()
PurgeQueueRequest: Any = cloudtasks.PurgeQueueRequest.pb()
ResumeQueueRequest: Any = cloudtasks.ResumeQueueRequest.pb()
RunTaskRequest: Any = cloudtasks.RunTaskRequest.pb()
UpdateQueueRequest: Any = cloudtasks.UpdateQueueRequest.pb()

Duration: Any = duration_pb2.Duration
Empty: Any = empty_pb2.Empty
FieldMask: Any = field_mask_pb2.FieldMask
Timestamp: Any = timestamp_pb2.Timestamp

RUNNING: int = queue_types.Queue.State.RUNNING.value
PAUSED: int = queue_types.Queue.State.PAUSED.value
BASIC: int = task_types.Task.View.BASIC.value
FULL: int = task_types.Task.View.FULL.value


def queue_of(fields: dict[str, Any]) -> Any:
    """A raw Queue of google's own types, or of dicts."""
    return queue_types.Queue.pb(queue_types.Queue(fields))
