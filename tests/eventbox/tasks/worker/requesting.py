"""Calling an ASGI application as a server does, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Answered:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def outcome(self) -> str:
        """What a worker says became of the request."""
        return str(json.loads(self.body)["outcome"])


async def call(
    app: ASGIApp,
    path: str,
    body: bytes | Sequence[bytes] = b"",
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> Answered:
    """Send a request, in several chunks where its body has them."""
    chunks = [body] if isinstance(body, bytes) else list(body)
    incoming: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks) - 1}
        for number, chunk in enumerate(chunks)
    ]
    outgoing: list[Message] = []

    async def receive() -> Message:
        if incoming:
            return incoming.pop(0)
        return await asyncio.Event().wait() or {}  # a caller that stays on the line

    async def send(message: Message) -> None:
        outgoing.append(message)

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": raw,
        "client": ("127.0.0.1", 1),
        "server": ("worker.example", 80),
        "state": {},
    }
    await app(scope, receive, send)
    start = next(message for message in outgoing if message["type"] == "http.response.start")
    return Answered(
        start["status"],
        {name.decode().lower(): value.decode() for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in outgoing),
    )
