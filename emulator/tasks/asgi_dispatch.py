"""Dispatching to an ASGI application in the same process, without a socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from grpc import StatusCode

from emulator.clock import Clock
from emulator.tasks.dispatch import Attempt, Delivery
from emulator.tasks.retry_after import parse_retry_after

_log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

_PORTS = {"http": 80, "https": 443}
_CLIENT = ("127.0.0.1", 0)


class AsgiDispatcher:
    """Calls an application, as a server that has it at a base URL would.

    Its lifespan is not run: do that yourself where it needs one. An application that raises before it answers gives
    500, and one that raises or returns in the middle of its answer none. Once the deadline has passed, on the clock, it
    is told `http.disconnect`, and may go on: as in production, nobody listens to it any more.

    Args:
        app: an ASGI 3 application.
        root_path: the path of the base URL, which is at the beginning of the scope's `path` too, as with servers.
        clock: what deadlines go by.
    """

    def __init__(self, app: AsgiApp, root_path: str, clock: Clock) -> None:
        self._app = app
        self._root_path = root_path
        self._clock = clock
        self._calls: set[asyncio.Task[None]] = set()

    async def dispatch(self, delivery: Delivery) -> Attempt:
        """The status that the application answers with; none where the deadline passed before."""
        exchange = _Exchange(delivery, self._root_path)
        call = asyncio.get_running_loop().create_task(exchange.run(self._app))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        try:
            await asyncio.sleep(0)  # an application that never waits has answered by now, and needs no timer
            if not exchange.answer.done():
                await self._until(exchange.answer, delivery.deadline)
        except asyncio.CancelledError:
            call.cancel()
            raise
        if exchange.answer.done():
            return exchange.answer.result()
        exchange.disconnect()
        return Attempt(
            None,
            StatusCode.DEADLINE_EXCEEDED,
            f"{delivery.url} gave no whole answer within {delivery.deadline.total_seconds():g} s",
        )

    async def _until(self, answer: asyncio.Future[Attempt], deadline: timedelta) -> None:
        timer: asyncio.Future[Any] = asyncio.ensure_future(self._clock.sleep(deadline))
        try:
            waits: list[asyncio.Future[Any]] = [answer, timer]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()


class _Exchange:
    """One request, and what the application has answered so far."""

    def __init__(self, delivery: Delivery, root_path: str) -> None:
        self.answer: asyncio.Future[Attempt] = asyncio.get_running_loop().create_future()
        self._delivery = delivery
        self._root_path = root_path
        self._received = False
        self._status: int | None = None
        self._retry_after: timedelta | None = None
        self._over: asyncio.Event | None = None
        self._is_over = False

    async def run(self, app: AsgiApp) -> None:
        """Let the application answer."""
        try:
            await app(self._scope(), self._receive, self._send)
        except Exception:
            _log.exception("the application failed: %s %s", self._delivery.method, self._delivery.url)
        finally:
            if not self.answer.done():
                broken = Attempt(None, StatusCode.UNAVAILABLE, "the answer broke off")
                self.answer.set_result(Attempt(500) if self._status is None else broken)

    def disconnect(self) -> None:
        """Nobody listens any more."""
        self._is_over = True
        if self._over is not None:
            self._over.set()

    async def _receive(self) -> Message:
        if not self._received:
            self._received = True
            return {"type": "http.request", "body": self._delivery.body, "more_body": False}
        if not self._is_over:
            self._over = self._over or asyncio.Event()
            await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._is_over:
            return  # as a server does with what is sent on a connection that is closed
        match message["type"]:
            case "http.response.start":
                if self._status is not None:
                    raise RuntimeError("http.response.start was sent already")
                self._status = message["status"]
                self._retry_after = _retry_after(message.get("headers", ()))
            case "http.response.body":
                if self._status is None:
                    raise RuntimeError("http.response.body was sent before http.response.start")
                if not message.get("more_body", False):
                    self.answer.set_result(Attempt(self._status, retry_after=self._retry_after))
                    self.disconnect()
            case other:
                raise RuntimeError(f"unexpected ASGI message {other!r}")

    def _scope(self) -> dict[str, Any]:
        delivery = self._delivery
        scheme, host, port, raw_path, query = _split(delivery.url)
        headers = [
            (name.lower().encode("latin-1"), value.encode()) for name, value in delivery.headers.items()
        ]
        named = host if port == _PORTS[scheme] else f"{host}:{port}"
        headers.insert(0, (b"host", named.encode()))
        if delivery.body or delivery.method in ("POST", "PUT", "PATCH"):
            headers.append((b"content-length", str(len(delivery.body)).encode()))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": delivery.method,
            "scheme": scheme,
            "path": unquote(raw_path),
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "root_path": self._root_path,
            "headers": headers,
            "client": _CLIENT,
            "server": (host, port),
            "extensions": {},
        }


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> timedelta | None:
    for name, value in headers:
        if name.lower() == b"retry-after":
            return parse_retry_after(value.decode("latin-1"))
    return None


@lru_cache(maxsize=4_096)
def _split(url: str) -> tuple[str, str, int, str, str]:
    """Scheme, host, port, path as it stands there, and query."""
    parts = urlsplit(url)
    return (
        parts.scheme,
        parts.hostname or "",
        parts.port or _PORTS[parts.scheme],
        parts.path or "/",
        parts.query,
    )
