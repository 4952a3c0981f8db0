"""What a task's request is, with the headers that Cloud Tasks adds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol

from emulator.tasks import protos
from emulator.tasks.dispatch import Delivery
from emulator.tasks.http_target import overridden_headers, overridden_url
from emulator.tasks.stored_queue import StoredQueue
from emulator.tasks.stored_task import StoredTask

_METHODS = {method.value: method.name for method in protos.HttpMethod}

_NEVER_FORWARDED = ("x-cloudtasks-", "x-google-", "x-appengine-")
_REPLACED = frozenset({"host", "content-length", "user-agent", "transfer-encoding", "connection"})


class TokenSigner(Protocol):
    """Who signs the tokens that tasks carry."""

    def token(self, email: str, audience: str) -> str:
        """A token that this service account calls this audience."""
        ...


def delivery_of(queue: StoredQueue, task: StoredTask, signer: TokenSigner) -> Delivery:
    """The request of a task whose attempt has just begun.

    Of the headers that the task was given, Cloud Tasks computes some itself, and forwards none of those that are its
    own. On retries `X-CloudTasks-TaskRetryReason` is there and empty, and `X-CloudTasks-TaskPreviousResponse` tells the
    previous answer's status, where there was one. An access token for `oauth_token` is made up, and opens nothing.
    """
    message = task.message
    request = message.http_request
    method, url, body, given = request.http_method, request.url, task.body, request.headers
    authorized = request
    if queue.message.HasField("http_target"):
        target = queue.message.http_target
        url, given = overridden_url(target, url), overridden_headers(target, given)
        method = target.http_method or method
        body = body if method in protos.WITH_BODY else b""
        if target.WhichOneof("authorization_header"):
            authorized = target
    headers = {name: value for name, value in given.items() if _is_forwarded(name)}
    retries = message.dispatch_count - 1
    headers["User-Agent"] = "Google-Cloud-Tasks"
    headers["X-CloudTasks-QueueName"] = queue.id
    headers["X-CloudTasks-TaskName"] = task.id
    headers["X-CloudTasks-TaskRetryCount"] = str(retries)
    headers["X-CloudTasks-TaskExecutionCount"] = str(task.executions)
    headers["X-CloudTasks-TaskETA"] = f"{task.due_us // 1_000_000}.{task.due_us % 1_000_000:06d}"
    if retries:
        headers["X-CloudTasks-TaskRetryReason"] = ""
        if task.latest_status:
            headers["X-CloudTasks-TaskPreviousResponse"] = str(task.latest_status)
    token = authorized.WhichOneof("authorization_header")
    if token is not None:
        for name in [name for name in headers if name.lower() == "authorization"]:
            del headers[name]
        headers["Authorization"] = f"Bearer {_token(getattr(authorized, token), token, url, signer)}"
    deadline = message.dispatch_deadline
    return Delivery(
        method=_METHODS[method],
        url=url,
        headers=headers,
        body=body,
        deadline=timedelta(seconds=deadline.seconds, microseconds=deadline.nanos // 1_000),
    )


def _is_forwarded(name: str) -> bool:
    lower = name.lower()
    return lower not in _REPLACED and not lower.startswith(_NEVER_FORWARDED)


def _token(token: Any, kind: str, url: str, signer: TokenSigner) -> str:
    if kind == "oidc_token":
        return signer.token(token.service_account_email, token.audience or url)
    return f"emulated-access-token-of-{token.service_account_email}"
