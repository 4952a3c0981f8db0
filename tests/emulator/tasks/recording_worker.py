"""A worker for tests: it remembers what it was sent, and answers as it is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

WORKER = "http://worker.example"


@dataclass(frozen=True)
class Request:
    """What the worker was sent; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    scope: dict[str, Any]

    @property
    def task(self) -> str:
        return self.headers["x-cloudtasks-taskname"]


class RecordingWorker:
    """An ASGI application. It answers with `statuses`, one after the other, and then with 200."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.statuses: deque[int] = deque()
        self.headers: list[tuple[bytes, bytes]] = []
        self.before_answer: Callable[[Request], Awaitable[None]] | None = None

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        request = Request(scope["method"], scope["path"], headers, message["body"], scope)
        self.requests.append(request)
        status = self.statuses.popleft() if self.statuses else 200
        if self.before_answer is not None:
            await self.before_answer(request)
        await send({"type": "http.response.start", "status": status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"ok"})


def http(path: str = "/run", **fields: Any) -> dict[str, Any]:
    """A task for the worker; what is no field of its request is one of its own."""
    of_request = {"http_method", "headers", "body", "oidc_token", "oauth_token"}
    request = {key: fields.pop(key) for key in list(fields) if key in of_request}
    return {"http_request": {"url": f"{WORKER}{path}", **request}, **fields}
