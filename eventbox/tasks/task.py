"""`Task`: what to ask of a service, once or more, soon or later."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dsset.items import check_moment

MAX_TASK_BYTES = 1_000_000
"""A task in all: Cloud Tasks' limit of 1 MB, by the smaller reading."""

MAX_TRANSACTIONAL_BODY_BYTES = 900_000
"""Leaves room in the reminder, a document of at most 1 MiB, for the headers and all else."""

MAX_HEADERS_BYTES = 80_000
"""Names and values together; Cloud Tasks demands less than 80 KB."""

MAX_URL_BYTES = 2_083

HORIZON = timedelta(days=30) - timedelta(minutes=1)
"""How far ahead a task may be scheduled: Cloud Tasks' limit, less what clocks differ by."""

MIN_DEADLINE = timedelta(seconds=15)
MAX_DEADLINE = timedelta(minutes=30)
DEFAULT_DEADLINE = timedelta(minutes=10)
"""How long a request may take: Cloud Tasks' bounds for HTTP targets, and its default."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,500}")
_PATH = re.compile(r"/[!-~]*")  # visible ASCII: what a URL is written in
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_SET_BY_CLOUD_TASKS = re.compile(
    r"host|content-length|user-agent|x-google-.*|x-appengine-.*|x-cloudtasks-.*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Task:
    """A POST request that Cloud Tasks makes, again until it is answered by a 2xx.

    Args:
        path: below the queue's target; begins with "/", may have a query.
        body: at most 900,000 bytes in a transaction; outside, the task is at most 1 MB in all.
        name: its ID on the queue, of 1 to 500 letters, digits, "_" and "-"; a random one by default. A name can be used
            once, and again only when Cloud Tasks has forgotten it (up to 24 hours after the task is gone): a second
            task of that name is silently none. Let names differ in their first characters: those that rise are slow.
        eta: not before this moment (aware); at once by default. One that lies more than 30 days ahead is kept in
            Firestore until Cloud Tasks takes it, which needs a `Sweeper`.
        headers: sent along, less than 80 KB. Without a Content-Type there is none.
        deadline: how long an attempt may take, 15 seconds to 30 minutes.

    Checked when it is enqueued, not when it is made.
    """

    path: str
    body: bytes = b""
    name: str | None = field(default=None, kw_only=True)
    eta: datetime | None = field(default=None, kw_only=True)
    headers: Mapping[str, str] = field(default_factory=dict, kw_only=True, hash=False)
    deadline: timedelta = field(default=DEFAULT_DEADLINE, kw_only=True)


def check_task(task: object, *, transactional: bool) -> Task:
    """The task; TypeError or ValueError that says which rule it breaks."""
    if not isinstance(task, Task):
        raise TypeError(f"expected a Task, not {type(task).__name__}")
    _check_path(task.path)
    if not isinstance(task.body, bytes):
        raise TypeError(f"the body of a task must be bytes, not {type(task.body).__name__}")
    limit = MAX_TRANSACTIONAL_BODY_BYTES if transactional else MAX_TASK_BYTES
    if len(task.body) > limit:
        where = "a transactional task's" if transactional else "a task's"
        raise ValueError(
            f"{where} body has at most {limit:,} bytes, not {len(task.body):,}: store it, and send where it lies"
        )
    if task.name is not None:
        _check_name(task.name)
    check_moment(task.eta, "eta")
    _check_headers(task.headers)
    check_deadline(task.deadline, "deadline")
    return task


def check_deadline(deadline: object, what: str) -> timedelta:
    """The deadline; TypeError or ValueError unless Cloud Tasks takes it."""
    if not isinstance(deadline, timedelta):
        raise TypeError(f"{what} must be a timedelta, not {type(deadline).__name__}")
    if not MIN_DEADLINE <= deadline <= MAX_DEADLINE:
        raise ValueError(f"{what} must be from 15 seconds to 30 minutes, not {deadline}")
    return deadline


def _check_path(path: object) -> None:
    if not isinstance(path, str):
        raise TypeError(f"path must be a str, not {type(path).__name__}")
    if not path.startswith("/"):
        raise ValueError(f'path must begin with "/": it goes behind the queue\'s target; not {path!r:.100}')
    if not _PATH.fullmatch(path) or "#" in path:
        raise ValueError(
            f"path must be written as in a URL (percent-encode spaces and what is not ASCII; no #): {path!r:.100}"
        )


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"name must be a str or None, not {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise ValueError(f'name must be 1 to 500 letters, digits, "_" and "-", not {name!r:.100}')


def _check_headers(headers: object) -> None:
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers must be a mapping, not {type(headers).__name__}")
    size = 0
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"headers must be strings, not {name!r:.100}: {value!r:.100}")
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r:.100} is not the name of a header")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the value of the header {name} has characters that no header may have")
        if _SET_BY_CLOUD_TASKS.fullmatch(name):
            raise ValueError(f"the header {name} is set by Cloud Tasks")
        size += len(name) + len(value.encode())
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("two headers have the same name, but for upper and lower case")
    if size >= MAX_HEADERS_BYTES:
        raise ValueError(
            f"the headers have {size:,} bytes; Cloud Tasks takes less than {MAX_HEADERS_BYTES:,}"
        )
