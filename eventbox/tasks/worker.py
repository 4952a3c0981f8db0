"""`Worker`: what Cloud Tasks calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from google.cloud.firestore_v1.async_transaction import AsyncTransaction
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider
from starlette.applications import Starlette
from starlette.routing import Mount

from dsset.dsset import TIMEOUT
from eventbox.box import EventBox
from eventbox.events import Receipt
from eventbox.recipient import Recipient
from eventbox.tasks.auth import Auth
from eventbox.tasks.recipient_kinds import ProcessorFactory, RecipientKinds
from eventbox.tasks.recipient_turns import RecipientTurns
from eventbox.tasks.request_telemetry import RequestTelemetry
from eventbox.tasks.serving import Serving, Sweeping, TaskHandler
from eventbox.tasks.stopping import Stopping
from eventbox.tasks.sweeper import Sweeper
from eventbox.tasks.task_queue import TaskQueue
from eventbox.tasks.waking import Waking, WakingLimits

_MIN_REQUEST_TIMEOUT = timedelta(seconds=10)


class Worker:
    """The endpoints that Cloud Tasks calls: wake-ups of recipients, tasks, and the sweep. An ASGI application.

        worker = Worker(box, queue, auth=Auth.iam())
        worker.recipient("orders/{order_id}", lambda order, params: OrderProcessor(order), monitoring_string="order")
        worker.task("/emails/send", send_email)
        app = worker.app                                              # uvicorn module:app
        api.mount("/tasks", worker.app)                               # or in a FastAPI(lifespan=worker.lifespan); the
                                                                      # queue's target then ends in "/tasks"

    `POST /eventbox/wake` drains a recipient, `POST /eventbox/sweep` runs the sweeper, `POST` to a task's path its
    handler. All of them authenticate the caller before anything else. `GET /healthz` takes anybody: 200, and 503 once
    the worker is stopping. Each request has one outcome, with a status, a log level and a metric
    (`eventbox.worker.requests`): the table is in `eventbox.tasks.outcomes`. What was dropped for good is logged at
    ERROR by the logger `eventbox.tasks` with the extra `outcome="dropped"`: alert on it.

    A wake-up has the recipient drained for two thirds of the time that its request has: the shorter one of the
    queue's `dispatch_deadline` and `request_timeout`. What is left gets a wake-up of its own. Runs of one recipient
    in one process wait for each other, so that they do not contend.

    When the server is told to stop (SIGTERM), no further batch is begun; those in hand have `grace` to finish, and are
    let go of after that; the wake-ups of what is left are made before the requests are answered. This takes the
    application's lifespan, which a server runs for `app` and a mounted application has to be given: see `lifespan`.

    Args:
        box: whose events are processed.
        queue: where wake-ups and tasks come from, and follow-ups go.
        auth: who may call. There is no default: an open worker is not made by leaving something out.
        request_timeout: how long the platform lets a request take: Cloud Run's setting, 5 minutes by default there.
            A task's handler that takes longer is cancelled, and its task tried again.
        concurrency: how many recipients and tasks are worked at at once; others wait, first come first served. A batch
            may hold 32 MiB of events.
        max_events: of a batch, as in `EventBox.drain`.
        longest_pause: between the runs of a recipient that move nothing; they come after 1, 2, 4, ... seconds.
        grace: how long batches and tasks go on after the worker was told to stop. Cloud Run kills it after 10 s.
        sweeper: what `/eventbox/sweep` runs; a `Sweeper(queue)` by default.
        sweep_timeout: how long that may take: less than a minute, where Cloud Scheduler calls each minute.
        meter_provider, tracer_provider: where metrics and spans go; those of the box by default.

    Raises:
        TypeError, ValueError: a bad argument; among them `Auth.none()` where the box's client has real credentials.
    """

    def __init__(
        self,
        box: EventBox,
        queue: TaskQueue,
        *,
        auth: Auth,
        request_timeout: timedelta = timedelta(minutes=5),
        concurrency: int = 80,
        max_events: int = 1_000,
        longest_pause: timedelta = timedelta(minutes=5),
        grace: timedelta = timedelta(seconds=6),
        sweeper: Sweeping | None = None,
        sweep_timeout: timedelta = timedelta(seconds=50),
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        if not isinstance(box, EventBox):
            raise TypeError(f"box must be an EventBox, not {type(box).__name__}")
        if not isinstance(queue, TaskQueue):
            raise TypeError(f"queue must be a TaskQueue, not {type(queue).__name__}")
        if not isinstance(auth, Auth):
            raise TypeError(
                f"auth must be Auth.verify(...), Auth.iam() or Auth.none(), not {type(auth).__name__}"
            )
        theirs, ours = queue.box.client._database_string, box.client._database_string
        if theirs != ours:
            raise ValueError(
                f"the queue's EventBox is on {theirs}, and the worker's on {ours}: every wake-up would be dropped"
            )
        auth.check_client(box.client)
        _check_duration("request_timeout", request_timeout, at_least=_MIN_REQUEST_TIMEOUT)
        _check_duration("longest_pause", longest_pause, at_least=timedelta(0))
        _check_duration("grace", grace, at_least=timedelta(0))
        _check_duration("sweep_timeout", sweep_timeout, at_least=timedelta(seconds=1))
        _check_count("concurrency", concurrency)
        _check_count("max_events", max_events)
        meters, tracers = box._providers
        self._queue = queue
        self._kinds = RecipientKinds(box.client)
        self._stopping = Stopping(grace)
        turns = RecipientTurns(concurrency)
        request_limit = min(queue.dispatch_deadline, request_timeout)
        self._serving = Serving(
            auth,
            Waking(
                box,
                queue,
                self._kinds,
                turns,
                self._stopping,
                WakingLimits(request_limit, max_events, longest_pause),
            ),
            turns,
            self._stopping,
            RequestTelemetry(box.clock, meter_provider or meters, tracer_provider or tracers),
            sweeper=Sweeper(queue) if sweeper is None else sweeper,
            sweep_limit=sweep_timeout,
            request_limit=request_timeout,
            clock=box.clock,
        )

    def recipient(self, pattern: str, factory: ProcessorFactory, *, monitoring_string: str) -> None:
        """Let the documents of this pattern have an inbox, processed by what `factory` makes.

        A wake-up for a document that no pattern matches is dropped, with a log at ERROR: add a kind of recipient to the
        workers before anybody wakes one, and take it away after the last one has been woken.

        Args:
            pattern: the document's path, in which IDs may be placeholders: "orders/{order_id}",
                "shops/{shop}/orders/{order}".
            factory: called for each run with the recipient and with what the placeholders stand for.
            monitoring_string: what metrics call these recipients, such as "order".

        Raises:
            TypeError, ValueError: a bad argument, or a pattern that some document would match besides another one.
        """
        self._kinds.add(pattern, factory, monitoring_string)

    def task(self, path: str, handler: TaskHandler) -> None:
        """Let tasks with this path be done by this handler.

        When it returns the task is done. When it raises, Cloud Tasks tries again, by the queue's retry settings; when
        it raises `DropTask`, the task is given up. The same task may come more than once, and at once with itself.

        Args:
            path: that of `Task.path`, below the queue's target; not one of the worker's own.
            handler: an asynchronous function that is given the `TaskRequest`.

        Raises:
            TypeError, ValueError: a bad argument, or a path that is taken.
        """
        self._serving.add(path, handler)

    async def notify(
        self, recipient: Recipient, eta: datetime | None = None, *, timeout: timedelta = TIMEOUT
    ) -> None:
        """Wake a recipient: `TaskQueue.notify`."""
        await self._queue.notify(recipient, eta, timeout=timeout)

    async def send(
        self,
        value: bytes,
        to: Recipient,
        *,
        wake: bool = True,
        id: str | None = None,
        process_after: datetime | None = None,
        transaction: AsyncTransaction | None = None,
        timeout: timedelta = TIMEOUT,
    ) -> Receipt:
        """Emit an event and wake its recipient: `TaskQueue.send`."""
        return await self._queue.send(
            value, to, wake=wake, id=id, process_after=process_after, transaction=transaction, timeout=timeout
        )

    @cached_property
    def app(self) -> Starlette:
        """The ASGI application, to run under uvicorn or another server, or to mount in FastAPI or Starlette."""
        return Starlette(routes=[Mount("/", app=self._serving)], lifespan=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """What goes on around the serving: give it to the application that `app` is mounted in.

            api = FastAPI(lifespan=worker.lifespan)

        SIGTERM and SIGINT begin the stop (`stop`) before the server's own handler runs; and after the last request, the
        queue's background work is awaited.
        """
        self._stopping.reset()
        with self._stopping.on_signals():
            try:
                yield
            finally:
                await self._queue.aclose()

    def stop(self) -> None:
        """Begin to stop, as at a SIGTERM, for servers whose stop is not a signal.

        It returns at once and may be called from any thread.
        """
        self._stopping.begin()


def _check_duration(name: str, value: object, *, at_least: timedelta) -> None:
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} must be a timedelta, not {type(value).__name__}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, not {value}")


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not 0 < value < 2**31:
        raise ValueError(f"{name} must be positive and fit 32 bits, not {value}")
