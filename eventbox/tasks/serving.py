"""`Serving`: the ASGI application of a worker, from a request to its response."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from dsset.clock import Clock
from eventbox.awaited import check_awaitable
from eventbox.tasks.auth import Auth, Purpose, RefusedError
from eventbox.tasks.body import BodyTooLargeError, read_body
from eventbox.tasks.certificates import CertificatesUnavailableError
from eventbox.tasks.errors import DropTask
from eventbox.tasks.outcomes import Answer, Kind, Outcome
from eventbox.tasks.recipient_turns import NoTurnError, RecipientTurns
from eventbox.tasks.request_telemetry import RequestTelemetry
from eventbox.tasks.stopping import Stopping
from eventbox.tasks.sweeper import SweepReport
from eventbox.tasks.task_request import TaskRequest, retry_count
from eventbox.tasks.wakeups import MAX_BODY_BYTES, PATH, SWEEP_PATH
from eventbox.tasks.waking import Waking, failure

HEALTH_PATH = "/healthz"

TaskHandler: TypeAlias = Callable[[TaskRequest], Awaitable[None]]
"""What does a task. When it returns the task is done; when it raises, Cloud Tasks tries again."""

logger = logging.getLogger("eventbox.tasks")

_MAX_TASK_BYTES = 2 * 1024 * 1024
"""Of a task's body, which with all else has at most 1 MB on Cloud Tasks."""

_RESERVED = re.compile(r"/eventbox(/.*)?|/healthz(/.*)?")
_TASK_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+")
_DOTS = re.compile(r"/\.{1,2}(/|$)")
_PATIENCE = 0.25
"""The part of a request's time that a task may wait for its turn."""


class Sweeping(Protocol):
    """What a worker asks of a `Sweeper`."""

    async def sweep(self, *, deadline: datetime | None = None) -> SweepReport:
        """Sweep until then."""
        ...


class Serving:
    """Takes requests, sees who is calling, and answers; an ASGI application."""

    def __init__(
        self,
        auth: Auth,
        waking: Waking,
        turns: RecipientTurns,
        stopping: Stopping,
        telemetry: RequestTelemetry,
        *,
        sweeper: Sweeping,
        sweep_limit: timedelta,
        request_limit: timedelta,
        clock: Clock,
    ) -> None:
        self._auth = auth
        self._waking = waking
        self._turns = turns
        self._stopping = stopping
        self._telemetry = telemetry
        self._sweeper = sweeper
        self._sweep_limit = sweep_limit
        self._request_limit = request_limit
        self._clock = clock
        self._handlers: dict[str, TaskHandler] = {}

    def add(self, path: str, handler: TaskHandler) -> None:
        """Let tasks with this path be done by this handler.

        Raises:
            TypeError, ValueError: a bad argument, or a path that is taken.
        """
        if not isinstance(path, str):
            raise TypeError(f"path must be a str, not {type(path).__name__}")
        if not callable(handler):
            raise TypeError(f"handler must be an asynchronous function, not {type(handler).__name__}")
        if not _TASK_PATH.fullmatch(path) or _DOTS.search(path):
            raise ValueError(
                f"path must be a plain one such as '/emails/send', without a query, escapes or a slash at its end, not "
                f"{path!r}"
            )
        if _RESERVED.fullmatch(path):
            raise ValueError(f"{path!r} is the worker's own: choose another path")
        if path in self._handlers:
            raise ValueError(f"{path!r} has a handler already")
        self._handlers[path] = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # a websocket: not accepted
            await send({"type": "websocket.close", "code": 1000})
            return
        request = Request(scope, receive)
        path = _path_of(scope)
        if path == HEALTH_PATH:
            response = self._health(request)
        else:
            response = await self._serve(request, path)
        await response(scope, receive, send)

    def _health(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("method not allowed\n", 405, headers={"Allow": "GET, HEAD"})
        if self._stopping.begun:
            # not a queue's request, so a 503 slows nothing down: whoever balances load takes this worker out
            return PlainTextResponse("stopping\n", 503)
        return PlainTextResponse("ok\n")

    async def _serve(self, request: Request, path: str) -> Response:
        kind = Kind.WAKE if path == PATH else Kind.SWEEP if path == SWEEP_PATH else Kind.OTHER
        if path in self._handlers:
            kind = Kind.TASK
        task = path if kind is Kind.TASK else None
        began = self._clock.monotonic()
        with self._telemetry.request(kind, request.headers) as span:
            try:
                answer = await self._answer(request, path, kind)
            except (TimeoutError, ClientDisconnect) as error:
                answer = Answer(Outcome.UNAVAILABLE, "the request did not come in whole", error)
            except Exception as error:
                answer = Answer(failure(error), "an error in eventbox", error)
            self._telemetry.answered(span, kind, task, answer, began)
            _log(request, kind, task, path, answer)
        return _response(answer)

    async def _answer(self, request: Request, path: str, kind: Kind) -> Answer:
        try:
            # before anything else: a stranger is not told what there is
            await self._auth.authenticate(
                request.headers, Purpose.SWEEP if kind is Kind.SWEEP else Purpose.TASK
            )
        except RefusedError as error:
            outcome = Outcome.UNAUTHENTICATED if error.status == 401 else Outcome.FORBIDDEN
            return Answer(outcome, error.reason, level=logging.ERROR if error.misconfigured else None)
        except CertificatesUnavailableError as error:
            return Answer(Outcome.UNAVAILABLE, "nobody can tell whether the caller's token is genuine", error)
        if kind is Kind.OTHER:
            return Answer(Outcome.UNKNOWN_PATH, "nothing is served there: is the task's handler registered?")
        if request.method != "POST":
            return Answer(Outcome.WRONG_METHOD, "not a POST")
        if kind is Kind.SWEEP:
            return await self._sweep()
        try:
            body = await read_body(request, MAX_BODY_BYTES if kind is Kind.WAKE else _MAX_TASK_BYTES)
        except BodyTooLargeError as error:
            return Answer(Outcome.DROPPED, str(error))
        if kind is Kind.WAKE:
            return await self._waking.answer(body)
        return await self._do_task(path, TaskRequest.of(request.headers, body))

    async def _do_task(self, path: str, task: TaskRequest) -> Answer:
        handler = self._handlers[path]
        limit = self._request_limit.total_seconds()
        # what it waits for its turn is part of the request's time too
        by = asyncio.get_running_loop().time() + limit
        try:
            async with self._turns.any_turn(patience_s=limit * _PATIENCE):
                async with asyncio.timeout_at(by) as timeout:
                    with self._stopping.running(timeout):
                        await check_awaitable(handler(task), f"the handler of {path}")
        except NoTurnError as error:
            return Answer(
                Outcome.UNAVAILABLE, "other requests took all the time that there was to wait", error
            )
        except TimeoutError as error:
            ours = timeout.expired()
            reason = "its handler took too long, or the worker is stopping" if ours else "its handler failed"
            return Answer(Outcome.UNAVAILABLE, reason, error)
        except DropTask as error:
            return Answer(Outcome.DROPPED, f"its handler gave it up: {error}", error)
        except Exception as error:
            return Answer(failure(error), "its handler failed", error)
        return Answer(Outcome.DONE, "done")

    async def _sweep(self) -> Answer:
        try:
            async with asyncio.timeout(self._sweep_limit.total_seconds() * 1.2) as timeout:
                with self._stopping.running(timeout):
                    report = await self._sweeper.sweep(deadline=self._clock.now() + self._sweep_limit)
        except Exception as error:
            return Answer(failure(error), "the sweep failed", error)
        found: dict[str, object] = {
            "stale": report.stale,
            "created": report.created,
            "failed": report.failed,
            "complete": report.complete,
        }
        reason = f"stale reminders: {report.stale}, tasks created: {report.created}, failed: {report.failed}"
        if report.failed and not report.created:
            return Answer(Outcome.UNAVAILABLE, reason, document=found)
        return Answer(Outcome.DONE, reason, document=found)


def _path_of(scope: Scope) -> str:
    """The path below where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _response(answer: Answer) -> Response:
    outcome = answer.outcome
    headers = {}
    if outcome is Outcome.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    elif outcome is Outcome.WRONG_METHOD:
        headers["Allow"] = "POST"
    return JSONResponse({"outcome": outcome.label, **answer.document}, outcome.status, headers=headers)


def _log(request: Request, kind: Kind, task: str | None, path: str, answer: Answer) -> None:
    level = answer.outcome.level if answer.level is None else answer.level
    if not logger.isEnabledFor(level):
        return
    recipient = answer.recipient
    what = recipient.path if recipient is not None else path[:500]
    logger.log(
        level,
        "%s of %s: %s: %s",
        kind.value if kind is not Kind.OTHER else "request",
        what,
        answer.outcome.label,
        answer.reason,
        exc_info=answer.error if answer.outcome is not Outcome.DROPPED else None,
        extra={
            "outcome": answer.outcome.label,
            "kind": kind.value,
            "recipient": None if recipient is None else recipient.path,
            "monitoring_string": None if recipient is None else recipient.monitoring_string,
            "task": task,
            "task_name": request.headers.get("x-cloudtasks-taskname"),
            "retry_count": retry_count(request.headers),
        },
    )
