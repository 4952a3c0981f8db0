"""A task as the engine keeps it."""

from __future__ import annotations

import struct
from typing import Any

from emulator.tasks import protos
from emulator.tasks.dispatch import Attempt
from emulator.tasks.limits import RETENTION_US
from emulator.tasks.moments import from_timestamp, set_timestamp

_HEADER = struct.Struct("<?IHI")
"""Whether its name was given, executions, the latest status, and the length of the message."""

_CODES = {
    400: ("INVALID_ARGUMENT", 3), 401: ("UNAUTHENTICATED", 16), 403: ("PERMISSION_DENIED", 7), 404: ("NOT_FOUND", 5),
    409: ("ALREADY_EXISTS", 6), 429: ("RESOURCE_EXHAUSTED", 8), 499: ("CANCELLED", 1), 500: ("INTERNAL", 13),
    501: ("UNIMPLEMENTED", 12), 503: ("UNAVAILABLE", 14), 504: ("DEADLINE_EXCEEDED", 4),
}  # fmt: skip
"""What a worker's status is in an attempt, as google.rpc.Code documents it; any other is UNKNOWN."""


class StoredTask:
    """A task: its message in the basic view, without the body, which stands beside it.

    Args:
        id: its short name.
        message: a Task without body; it is the task's own from now on.
        body: the request's.
        named: whether whoever created it chose the name, so that the name is not free again at once.
        executions: how many answers it has had that were no 5xx.
        latest_status: of the previous attempt; 0: there was none, or it had no answer.
    """

    __slots__ = (
        "body", "due_us", "entry", "executions", "forced_us", "gone", "id", "latest_status", "message", "mishap",
        "named", "retries", "spared",
    )  # fmt: skip

    def __init__(
        self,
        id: str,
        message: Any,
        body: bytes,
        *,
        named: bool,
        executions: int = 0,
        latest_status: int = 0,
    ) -> None:
        self.id = id
        self.message = message
        self.body = body
        self.named = named
        self.executions = executions
        self.latest_status = latest_status
        self.due_us = from_timestamp(message.schedule_time)
        self.retries: Any = None  # its own RetrySchedule, where it has one
        self.forced_us: int | None = None  # when RunTask was called
        self.gone = False
        self.spared = False  # a fault has had its turn: the next dispatch meets `mishap`, or nothing
        self.mishap: Any = None
        self.entry = 0  # which of its entries in the heap of due tasks holds

    @property
    def expires_us(self) -> int:
        """When it is dropped, done or not."""
        return from_timestamp(self.message.create_time) + RETENTION_US

    def view(self, view: int) -> bytes:
        """The encoded Task, as whoever asks for this view sees it now."""
        data: bytes
        if view != protos.FULL:
            data = self.message.SerializeToString()
            return data
        full = protos.Task()
        full.CopyFrom(self.message)
        full.view = protos.FULL
        if self.body:
            full.http_request.body = self.body
        data = full.SerializeToString()
        return data

    def begin_attempt(self, now_us: int) -> None:
        """It is dispatched now."""
        message = self.message
        message.dispatch_count += 1
        attempt = message.last_attempt
        attempt.Clear()
        set_timestamp(attempt.schedule_time, self.due_us)
        set_timestamp(attempt.dispatch_time, now_us)
        if message.dispatch_count == 1:
            set_timestamp(message.first_attempt.dispatch_time, now_us)

    def end_attempt(self, attempt: Attempt, now_us: int) -> None:
        """It has had an answer that was no success, or none."""
        message = self.message
        status = message.last_attempt.response_status
        set_timestamp(message.last_attempt.response_time, now_us)
        if attempt.status is None:
            name, status.code = attempt.failure.name, attempt.failure.value[0]
            status.message = f"{name}({status.code}): {attempt.message or 'no answer'}"
            self.latest_status = 0
            return
        name, status.code = _CODES.get(attempt.status, ("UNKNOWN", 2))
        status.message = f"{name}({status.code}): HTTP status code {attempt.status}"
        message.response_count += 1
        self.latest_status = attempt.status
        if attempt.status < 500:
            self.executions += 1

    def reschedule(self, due_us: int) -> None:
        """It is due then."""
        self.due_us = due_us
        set_timestamp(self.message.schedule_time, due_us)

    def encode(self) -> bytes:
        """All of it, for the journal."""
        data: bytes = self.message.SerializeToString()
        header = _HEADER.pack(self.named, self.executions, self.latest_status, len(data))
        return header + data + self.body

    @classmethod
    def decode(cls, id: str, data: bytes) -> StoredTask:
        """What `encode` made bytes of."""
        named, executions, latest_status, length = _HEADER.unpack_from(data)
        message = protos.Task.FromString(data[_HEADER.size : _HEADER.size + length])
        body = data[_HEADER.size + length :]
        return cls(id, message, body, named=named, executions=executions, latest_status=latest_status)
