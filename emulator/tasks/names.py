"""Resource names: `projects/P/locations/L`, `.../queues/Q` and `.../queues/Q/tasks/T`."""

from __future__ import annotations

import re
from functools import lru_cache

from grpc import StatusCode

from emulator.status import Status

_LOCATION = r"projects/[A-Za-z0-9:.-]{1,100}/locations/[A-Za-z0-9-]{1,100}"
_LOCATION_NAME = re.compile(_LOCATION)
_QUEUE_NAME = re.compile(rf"({_LOCATION})/queues/[A-Za-z0-9-]{{1,100}}")
_TASK_NAME = re.compile(rf"({_LOCATION}/queues/[A-Za-z0-9-]{{1,100}})/tasks/(.+)", re.DOTALL)
_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")


def check_location(name: str) -> str:
    """The name of a location; INVALID_ARGUMENT where it is none."""
    if not _LOCATION_NAME.fullmatch(name):
        raise _invalid('Location name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>".')
    return name


@lru_cache(maxsize=4_096)
def check_queue(name: str) -> str:
    """The name of a queue; INVALID_ARGUMENT where it is none."""
    if not _QUEUE_NAME.fullmatch(name):
        raise _invalid(
            'Queue name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>". '
            "A queue ID has 1 to 100 letters, digits or hyphens."
        )
    return name


def location_of(queue: str) -> str:
    """The location that a queue lies in; INVALID_ARGUMENT where it is no queue's name."""
    return check_queue(queue).rpartition("/queues/")[0]


def split_task(name: str) -> tuple[str, str]:
    """A task's queue and its ID; INVALID_ARGUMENT where it is no task's name."""
    match = _TASK_NAME.fullmatch(name)
    if match is None:
        raise _invalid(
            'Task name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/'
            '<TASK_ID>".'
        )
    if not _TASK_ID.fullmatch(match[2]):
        raise _invalid(
            f'Task ID "{match[2]}" can contain only letters ([A-Za-z]), numbers ([0-9]), hyphens (-), or underscores '
            "(_). Task ID must between 1 and 500 characters."
        )
    return match[1], match[2]


def short(name: str) -> str:
    """The last part of a name: the ID of what it names."""
    return name.rpartition("/")[2]


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
