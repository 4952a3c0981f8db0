"""`TaskQueue`: putting tasks on Cloud Tasks, plainly or if and only if a transaction commits, and waking recipients."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from types import TracebackType
from urllib.parse import urlsplit

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore_v1.async_transaction import AsyncTransaction
from google.cloud.tasks_v2 import CloudTasksAsyncClient
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from dsset.documents import moment
from dsset.items import check_moment, check_timeout
from dsset.protos import wrap_write
from dsset.retry import Backoff, is_transient, retry_transient
from dsset.wire import Wire
from eventbox.arguments import check_recipient, check_transaction
from eventbox.box import EventBox
from eventbox.events import NewEvent, Receipt
from eventbox.recipient import Recipient
from eventbox.tasks.creating import Creator
from eventbox.tasks.errors import EnqueueError
from eventbox.tasks.placing import Placing
from eventbox.tasks.reminders import FRESH, MAX_SHARDS, Reminder, Shelf, placeable_at, random_name
from eventbox.tasks.run_scope import RunScope
from eventbox.tasks.task import DEFAULT_DEADLINE, Task, check_deadline, check_task
from eventbox.tasks.task_protos import Target
from eventbox.tasks.telemetry import TasksTelemetry
from eventbox.tasks.wakeups import WakeUp, second_after
from eventbox.transaction import Transaction

TIMEOUT = timedelta(minutes=1)
"""How long transient errors are retried by default."""

_BARELY_ANYTHING = ("eventbox_eversion",)
_QUEUE = re.compile(r"projects/[^/\s]+/locations/[^/\s]+/queues/[A-Za-z0-9-]{1,100}")


class TaskQueue:
    """A queue of Cloud Tasks whose tasks are POST requests to one service. One for each process and queue is enough.

        queue = TaskQueue(tasks_client(), "projects/p/locations/l/queues/q", target="https://worker.example.run.app",
                          service_account="tasks@p.iam.gserviceaccount.com", box=box)
        await queue.send(b"paid", to=order)                                      # emit, and wake the order's worker
        await queue.enqueue(Task("/mails", body), transaction=transaction)       # if and only if that commits

    What is put on it in a transaction leaves a *reminder*, a document of the same commit, from which a `Sweeper` makes
    the task if this process dies before it has: run one, as an endpoint of the worker or in a process.

    Args:
        client: google's client; `tasks_client()` makes one that knows of the emulator.
        queue: the queue's full name, `projects/*/locations/*/queues/*`. It must exist.
        target: the URL of the service; a task's path goes behind it. It is the audience of the tokens, too.
        service_account: on whose behalf Cloud Tasks calls the service, by an OIDC token; None: without any.
        box: whose recipients are woken, and whose database keeps the reminders.
        shards: over how many places reminders are spread, 1 to 100. Each bears 500 transactional tasks a second, and
            costs each sweep at least 1 read. It may be raised at any time (the sweepers first), and lowered once no
            reminders are left.
        dispatch_deadline: how long a run that a wake-up starts may take, 15 seconds to 30 minutes.
        remember: of how many wake-ups the names are kept, so that none is created twice in a process.
        meter_provider, tracer_provider: where metrics and spans go; those of the box by default.

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    def __init__(
        self,
        client: CloudTasksAsyncClient,
        queue: str,
        *,
        target: str,
        service_account: str | None,
        box: EventBox,
        shards: int = 16,
        dispatch_deadline: timedelta = DEFAULT_DEADLINE,
        remember: int = 10_000,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        if not isinstance(client, CloudTasksAsyncClient):
            raise TypeError(
                f"client must be a google.cloud.tasks_v2.CloudTasksAsyncClient, not {type(client).__name__}"
            )
        if not isinstance(queue, str):
            raise TypeError(f"queue must be a str, not {type(queue).__name__}")
        if not _QUEUE.fullmatch(queue):
            raise ValueError(
                f"queue must be a full name, projects/*/locations/*/queues/*, not {queue!r:.200}"
            )
        if service_account is not None and not isinstance(service_account, str):
            raise TypeError(f"service_account must be a str or None, not {type(service_account).__name__}")
        if service_account is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+", service_account):
            raise ValueError(f"service_account must be an e-mail address, not {service_account!r:.200}")
        if not isinstance(box, EventBox):
            raise TypeError(f"box must be an EventBox, not {type(box).__name__}")
        _check_int("shards", shards, MAX_SHARDS)
        _check_int("remember", remember, 1 << 31)
        meters, tracers = box._providers
        self._box = box
        self._clock = box._clock
        self._rng = box._rng
        self._queue = queue
        self._target = Target(_check_target(target), service_account, audience=target)
        self._dispatch_deadline = check_deadline(dispatch_deadline, "dispatch_deadline")
        self._telemetry = TasksTelemetry(
            queue, self._clock, meter_provider or meters, tracer_provider or tracers
        )
        self._shelf = Shelf(box.client._database_string, queue, shards)
        self._creator = Creator(
            client, queue, clock=self._clock, rng=self._rng, telemetry=self._telemetry, remember=remember
        )
        self._placing = Placing(
            box,
            self._shelf,
            self._target,
            self._creator,
            dispatch_deadline=self._dispatch_deadline,
        )

    @property
    def queue(self) -> str:
        """The queue's full name."""
        return self._queue

    @property
    def target(self) -> str:
        """The URL of the service, without a slash at its end."""
        return self._target.url

    @property
    def service_account(self) -> str | None:
        """On whose behalf Cloud Tasks calls the service."""
        return self._target.service_account

    @property
    def box(self) -> EventBox:
        """Whose recipients are woken."""
        return self._box

    @property
    def dispatch_deadline(self) -> timedelta:
        """How long a run that a wake-up starts may take."""
        return self._dispatch_deadline

    async def enqueue(
        self, task: Task, *, transaction: AsyncTransaction | None = None, timeout: timedelta = TIMEOUT
    ) -> None:
        """Let a task run, at least once; in a transaction, if and only if that commits.

        Outside a transaction the task is on the queue when this returns; transient errors are retried for up to
        `timeout`, under a name of its own, so that a lost answer makes no second task. In a `Transaction` it is created
        as soon as that has committed, all tasks of one side by side, before the commit returns; should that fail, or
        the process die, a `Sweeper` creates it, after a minute. In a transaction of google's own client, which tells
        nobody of its commit, it is always the sweeper that does.

        Raises:
            TypeError, ValueError: a bad argument; nothing was sent.
            EnqueueError: outside a transaction, Cloud Tasks did not take it, or nobody knows.

        Cost: 1 RPC. In a transaction: 1 write of its commit, 1 RPC after it, and 1 delete in the background. One whose
        `eta` is more than 30 days ahead: 1 write, and when it is due to be placed what a sweep costs.
        """
        proto = self._target.task(check_task(task, transactional=transaction is not None))
        check_transaction(transaction, self._box.client)
        check_timeout(timeout)
        if transaction is None:
            now = self._now()
            if placeable_at(task.eta) > now:
                await self._remind(
                    Reminder.of_task(proto, task.name, self._rng, self._fresh_until(task.eta)), timeout
                )
                return
            name = task.name or random_name(self._rng)
            await self._creator.create(name, proto, kind="task", timeout=timeout)
            return
        fresh_until = self._fresh_until(task.eta, transaction)
        self._remind_in(transaction, Reminder.of_task(proto, task.name, self._rng, fresh_until))

    async def notify(
        self, recipient: Recipient, eta: datetime | None = None, *, timeout: timedelta = TIMEOUT
    ) -> None:
        """Let a worker drain the recipient's inbox soon, or soon after `eta`.

        The run starts after all that this process has been told to be committed, such as an `emit` that has returned:
        it goes by the latest server time heard, not by this machine's clock. Where none has been heard, one read asks
        for it. Many calls within a second are one task.

        An `emit` and a `notify` are two steps, between which a process may die: `send` is both in one.

        Raises:
            TypeError, ValueError: a bad argument; nothing was sent.
            EnqueueError: Cloud Tasks did not take it, or nobody knows: notify again.

        Cost: 1 RPC, or none where this process has made sure of the same wake-up before.
        """
        check_recipient(recipient, self._box.client)
        check_moment(eta, "eta")
        check_timeout(timeout)
        name = recipient.ref._document_path
        if placeable_at(eta) > self._now():
            await self._remind(Reminder.of_wake_up(name, eta, self._rng, self._fresh_until(eta)), timeout)
            return
        second = second_after(await self._heard(name, timeout), eta)
        await self._placing.wake(WakeUp(name, _outside_of_run(second)), timeout)

    async def wake(
        self,
        recipient: str,
        *,
        not_before: datetime,
        fresh: bool = False,
        idle: int = 0,
        timeout: timedelta = TIMEOUT,
    ) -> None:
        """What a worker puts off to a later run: as `notify`, with marks that the next run reads.

        Args:
            recipient: its full document name.
            not_before: the run starts later than this.
            fresh: it was late once, and is never late again.
            idle: how many runs in a row have moved nothing.
        """
        check_moment(not_before, "not_before")
        second = second_after(await self._heard(recipient, timeout), not_before)
        await self._placing.wake(WakeUp(recipient, _outside_of_run(second), fresh, idle), timeout)

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
        """Put an event into the recipient's inbox and wake its worker, in one.

        Event and reminder of the wake-up are one commit; then the wake-up is created, for a second after that commit
        (and after `process_after`). Whatever dies in between, there is a run that sees the event, given a `Sweeper`;
        whatever this machine's clock says, none that is under way can swallow the wake-up. Once the commit is done,
        failures of Cloud Tasks are logged, not raised. A run starts 0 to 1.1 s after the commit.

        In a transaction it is sent if and only if that commits; events of one transaction for the same recipient and
        `process_after` share one reminder. In one of google's own client it is the sweeper that wakes.

        Args:
            wake: False: emit it only; somebody else's wake-up will do.
            Others are those of `EventBox.emit`.

        Raises:
            TypeError, ValueError: a bad argument; nothing was sent.
            EmitError: it could not be written, or nobody knows; send it again with the same ID.
            EnqueueError: the event is a duplicate, and Cloud Tasks did not take its wake-up; send it again.

        Cost: 2 writes and 1 delete, 2 sequential round trips (nobody waits for the delete). A duplicate: 3 RPCs and
        1 read. In a transaction: 2 writes of its commit, 1 RPC after it, 1 delete.
        """
        if not isinstance(wake, bool):
            raise TypeError(f"wake must be a bool, not {type(wake).__name__}")
        if not wake:
            return await self._box.emit(
                value, to, id=id, process_after=process_after, transaction=transaction, timeout=timeout
            )
        check_recipient(to, self._box.client)
        check_moment(process_after, "process_after")
        name = to.ref._document_path
        if transaction is not None:
            receipt = await self._box.emit(
                value, to, id=id, process_after=process_after, transaction=transaction, timeout=timeout
            )
            fresh_until = self._fresh_until(process_after, transaction)
            reminder = Reminder.of_wake_up(name, process_after, self._rng, fresh_until)
            if not self._has_reminder_of(transaction, reminder):
                self._remind_in(transaction, reminder)
            return receipt
        reminder = Reminder.of_wake_up(name, process_after, self._rng, self._fresh_until(process_after))
        event = NewEvent(value, id=id, process_after=process_after)
        receipt, commit_time = await self._box._emit_with(
            event, to, [self._shelf.write(reminder)], timeout=timeout
        )
        if receipt.duplicate:  # it may have been emitted without waking anybody
            await self.notify(to, process_after, timeout=timeout)
        else:
            await self._placing.place([reminder], commit_time, now=self._now())
        return receipt

    async def flush(self) -> None:
        """Return once the reminders of all tasks created so far are deleted, or left to the sweeper."""
        await self._placing.flush()

    async def aclose(self) -> None:
        """What to await before the process ends. It does not close the clients."""
        await self.flush()

    async def __aenter__(self) -> TaskQueue:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # Times -------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        """The server's time as far as it is known, else this machine's."""
        return self._box._server_time.lower_bound() or self._clock.now()

    async def _heard(self, name: str, timeout: timedelta) -> datetime:
        """A time that the server has reached, after all that this process was told to be committed."""
        heard = self._box._server_time.lower_bound()
        if heard is None:
            wire = Wire.of(self._box.client)
            try:
                responses = await retry_transient(
                    lambda seconds: wire.batch_get([name], mask=_BARELY_ANYTHING, timeout=seconds),
                    Backoff(self._clock, self._rng, timeout),
                )
            except GoogleAPICallError as error:
                raise self._not_put(f"wake-up of {name.partition('/documents/')[2]}", error) from error
            heard = moment(responses[name].read_time)
        return heard

    def _fresh_until(self, eta: datetime | None, transaction: AsyncTransaction | None = None) -> datetime:
        """From when on the sweeper may create the task."""
        told = transaction is None or isinstance(transaction, Transaction)
        return max(self._now() + (FRESH if told else timedelta(0)), placeable_at(eta))

    # Reminders ---------------------------------------------------------------------------------------------

    async def _remind(self, reminder: Reminder, timeout: timedelta) -> None:
        """Leave a reminder by a commit of its own; sent again it says the same."""
        wire = Wire.of(self._box.client)
        write = self._shelf.write(reminder)
        try:
            await retry_transient(
                lambda seconds: wire.commit([write], timeout=seconds),
                Backoff(self._clock, self._rng, timeout),
            )
        except GoogleAPICallError as error:
            raise self._not_put(reminder.name or reminder.id, error) from error

    def _not_put(self, name: str, error: GoogleAPICallError) -> EnqueueError:
        return EnqueueError(self._queue, name, str(error), transient=is_transient(error))

    def _remind_in(self, transaction: AsyncTransaction, reminder: Reminder) -> None:
        transaction._add_write_pbs([wrap_write(self._shelf.write(reminder))])
        if isinstance(transaction, Transaction):
            # one under a random ID is this transaction's own: should the answer be lost, it tells of the commit
            own = reminder.is_wake_up or reminder.id == reminder.name
            evidence = self._shelf.name(reminder.id) if own else ""
            transaction._gather(self._after_commit, reminder, evidence=evidence)

    def _has_reminder_of(self, transaction: AsyncTransaction, wanted: Reminder) -> bool:
        """Whether the transaction wakes the same recipient for the same moment already."""
        return isinstance(transaction, Transaction) and any(
            reminder.is_wake_up and reminder.recipient == wanted.recipient and reminder.eta == wanted.eta
            for reminder in transaction._gathered(self._after_commit)
        )

    async def _after_commit(self, transaction: Transaction, reminders: list[Reminder]) -> None:
        await self._placing.place(reminders, transaction.commit_time, now=self._now())


def _outside_of_run(second: int) -> int:
    """The second, or the one after that of the run under way."""
    scope = RunScope.current()
    return second if scope is None else max(second, scope.second + 1)


def _check_target(target: object) -> str:
    if not isinstance(target, str):
        raise TypeError(f"target must be a str, not {type(target).__name__}")
    try:
        parts = urlsplit(target)
        valid = (
            parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
        )
        _ = parts.port  # raises for one that is none
    except ValueError:
        valid = False
    if not valid or not re.fullmatch(r"[!-~]+", target) or "?" in target or "#" in target:
        raise ValueError(
            f"target must be a service's URL, such as https://worker.example.run.app, not {target!r:.200}"
        )
    return target.rstrip("/")


def _check_int(name: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not 1 <= value <= most:
        raise ValueError(f"{name} must be from 1 to {most:,}, not {value}")
