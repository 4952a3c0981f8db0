"""Cloud Tasks' limits, as its documentation has them, on what a task may be."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from grpc import StatusCode

from emulator.status import Status
from emulator.tasks import protos
from emulator.tasks.moments import from_timestamp, to_datetime

MAX_REQUEST_BYTES = 10 * 1024 * 1024
MAX_TASK_BYTES = (1 << 20) - 7
"""Of a task as it is stored. Documented is 1 MB; this was measured, see aertje/cloud-tasks-emulator."""

MAX_URL_BYTES = 2_083
MAX_HEADER_BYTES = 80 * 1024
"""Of all header names and values together; they must be less."""

MAX_AHEAD_US = 30 * 24 * 3_600 * 1_000_000
RETENTION_US = 31 * 24 * 3_600 * 1_000_000
"""How long a task lives at most, done or not, in microseconds."""

QUEUE_NAME_US = 7 * 24 * 3_600 * 1_000_000
"""How long the name of a deleted queue may not be used again, in microseconds."""

DEFAULT_DEADLINE_S = 600
_MIN_DEADLINE_MS, _MAX_DEADLINE_MS = 15_000, 1_800_000
_MAX_SECONDS = 253_402_300_799  # 9999-12-31T23:59:59Z

STAY_IN_URLS = "%!#$&'()*+,/:;=?@[]~"
"""What has a meaning in a URL, or is encoded already, next to letters, digits and `_.-`."""


def check_request(request: Any) -> None:
    """INVALID_ARGUMENT for a request that is too large."""
    if request.ByteSize() > MAX_REQUEST_BYTES:
        raise invalid(
            f"Request payload size exceeds the limit: {MAX_REQUEST_BYTES} bytes ({request.ByteSize()} given)."
        )


def check_target(task: Any) -> str:
    """The URL of the task, encoded; INVALID_ARGUMENT unless the task is an HTTP request that Cloud Tasks would send."""
    kind = task.WhichOneof("message_type")
    if kind == "app_engine_http_request":
        raise invalid(
            "This emulator has no App Engine targets: give the task an http_request with the full URL instead of an "
            "app_engine_http_request."
        )
    if kind is None:
        raise invalid("Task.http_request is required.")
    request = task.http_request
    if not request.url:
        raise invalid("HttpRequest.url is required.")
    if not request.url.startswith(("http://", "https://")):
        raise invalid("HttpTarget.url must start with 'http://' or 'https://'.")
    url = quote(request.url, safe=STAY_IN_URLS)
    if len(url) > MAX_URL_BYTES:
        raise invalid(
            f"HttpRequest.url must be at most {MAX_URL_BYTES} bytes long, and has {len(url)} once encoded."
        )
    if request.http_method not in protos.METHODS:
        raise invalid(f"HttpRequest.http_method {request.http_method} is none that there is.")
    if request.body and request.http_method and request.http_method not in protos.WITH_BODY:
        method = protos.HttpMethod(request.http_method).name
        raise invalid(f"HttpRequest.body is allowed only with POST, PUT or PATCH, not with {method}.")
    check_headers(request.headers)
    token = request.WhichOneof("authorization_header")
    if token is not None and not getattr(request, token).service_account_email:
        raise invalid(f"HttpRequest.{token}.service_account_email is required.")
    return url


def check_schedule(task: Any, now_us: int) -> int:
    """When the task is due, in microseconds, and not before now; INVALID_ARGUMENT where that is too far ahead."""
    if not task.HasField("schedule_time"):
        return now_us
    moment = task.schedule_time
    if not (0 <= moment.nanos < 1_000_000_000 and -62_135_596_800 <= moment.seconds <= _MAX_SECONDS):
        raise invalid("Task.scheduleTime must lie in the years 1 to 9999.")
    due_us = from_timestamp(moment)
    if due_us > now_us + MAX_AHEAD_US:
        raise invalid(
            f"The Task.scheduleTime, {to_datetime(due_us).isoformat()}, is too far in the future. Schedule time must "
            "be no more than 720h in the future."
        )
    return max(due_us, now_us)


def check_deadline(task: Any) -> None:
    """Fill in, or cut to milliseconds, the dispatch deadline; INVALID_ARGUMENT where it is out of bounds."""
    if not task.HasField("dispatch_deadline"):
        task.dispatch_deadline.seconds = DEFAULT_DEADLINE_S
        return
    deadline = task.dispatch_deadline
    milliseconds = deadline.seconds * 1_000 + deadline.nanos // 1_000_000
    if not _MIN_DEADLINE_MS <= milliseconds <= _MAX_DEADLINE_MS or (
        milliseconds == _MAX_DEADLINE_MS and deadline.nanos
    ):
        raise invalid("Task.dispatchDeadline must be between [15s, 30m].")
    deadline.nanos -= deadline.nanos % 1_000_000


def check_size(task: Any) -> None:
    """INVALID_ARGUMENT for a task that is too large, with all that was filled in."""
    if task.ByteSize() > MAX_TASK_BYTES:
        raise invalid("Task size too large")


def check_headers(headers: Any) -> None:
    """INVALID_ARGUMENT for headers that are none of HTTP, or too large."""
    size = 0
    for name, value in headers.items():
        size += len(name.encode()) + len(value.encode())
        if not name or not name.isascii() or any(char in _NOT_IN_NAMES or char <= " " for char in name):
            raise invalid(f"HttpRequest.headers: {name!r} is no name of an HTTP header.")
        if any(char in "\r\n\0" for char in value):
            raise invalid(f"HttpRequest.headers: the value of {name!r} must have no line breaks.")
    if size >= MAX_HEADER_BYTES:
        raise invalid(f"HttpRequest.headers must be less than 80KB, and have {size} bytes.")


_NOT_IN_NAMES = frozenset('"(),/:;<=>?@[\\]{}\x7f')


def invalid(message: str) -> Status:
    """INVALID_ARGUMENT, with a message."""
    return Status(StatusCode.INVALID_ARGUMENT, message)
