"""Reminders: documents that a commit leaves behind, so that a task is created if and only if it was carried out.

A reminder lies at `eventbox_queues/{hash of the queue}-{shard}/eventbox_reminders/{id}`. Its fields:

    fresh_until  only from then on does the sweeper touch it. The only field that has an index.
    name         the name of the task to create; its ID, or a hash of the name that the user gave
    task         the Task, serialized, without its name; not in a wake-up
    recipient    of a wake-up: whom to wake
    eta          of a wake-up: not before then, if there is such a moment
    failures     how often the sweeper could not create it

IDs are hashes or random, so that no key range is hot, and shards keep the index on `fresh_until`, which only rises,
under the 500 writes per second that one such index takes. No TTL policy may apply: a reminder is a promise.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from dsset import protos
from dsset.documents import moment
from eventbox.tasks.task import HORIZON
from eventbox.tasks.task_protos import TaskProto, timestamp
from eventbox.tasks.wakeups import WakeUp, second_after

QUEUES = "eventbox_queues"
REMINDERS = "eventbox_reminders"
"""The collection IDs: indexes are declared for them."""

FRESH = timedelta(minutes=1)
"""How long whoever has committed a reminder has to create the task before the sweeper does."""

MAX_SHARDS = 100
_HASH_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Value = protos.Value


@dataclass(frozen=True, slots=True)
class Reminder:
    """What has to be created on the queue: a task, or a wake-up of a recipient.

    A wake-up has its second, and so its name, from the time of the commit, which is not known before: see `wake_up`.
    """

    id: str
    fresh_until: datetime
    name: str = ""
    task: Any = None  # the Task, without its name
    recipient: str = ""
    eta: datetime | None = None

    @staticmethod
    def of_task(task: Any, name: str | None, rng: Random, fresh_until: datetime) -> Reminder:
        """A reminder of a task; where it has no name, that of the reminder becomes its name."""
        if name is None:
            id = random_name(rng)
            return Reminder(id, fresh_until, name=id, task=task)
        digest = hashlib.blake2b(name.encode(), digest_size=_HASH_BYTES).hexdigest()
        return Reminder(digest, fresh_until, name=name, task=task)

    @staticmethod
    def of_wake_up(recipient: str, eta: datetime | None, rng: Random, fresh_until: datetime) -> Reminder:
        """A reminder to wake a recipient."""
        return Reminder(random_name(rng), fresh_until, recipient=recipient, eta=eta)

    def wake_up(self, commit_time: datetime) -> WakeUp:
        """The wake-up that is due because of what was committed then."""
        return WakeUp(self.recipient, second_after(commit_time, self.eta))

    @property
    def is_wake_up(self) -> bool:
        return bool(self.recipient)

    @property
    def scheduled_for(self) -> datetime | None:
        """What the task is scheduled for, as far as that was asked for."""
        if self.is_wake_up:
            return self.eta
        return moment(self.task.schedule_time) if self.task.HasField("schedule_time") else None


def random_name(rng: Random) -> str:
    """A name that nobody else has: hex, spread evenly."""
    return rng.randbytes(16).hex()


def placeable_at(eta: datetime | None) -> datetime:
    """From when on Cloud Tasks takes a task for this moment."""
    return _EPOCH if eta is None or eta < _EPOCH + HORIZON else eta - HORIZON


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where the reminders of one queue lie in one database."""

    database: str
    queue: str
    shards: int

    def parent(self, shard: int) -> str:
        """The document that a shard's reminders lie under; it does not exist."""
        queue = hashlib.blake2b(self.queue.encode(), digest_size=_HASH_BYTES).hexdigest()
        return f"{self.database}/documents/{QUEUES}/{queue}-{shard:02}"

    def name(self, id: str) -> str:
        """The full name of a reminder's document."""
        return f"{self.parent(int(id[:8], 16) % self.shards)}/{REMINDERS}/{id}"

    def write(self, reminder: Reminder) -> Any:
        """The write that leaves a reminder, whatever lies there: of two for one task's name either will do."""
        fields = {"fresh_until": Value(timestamp_value=timestamp(reminder.fresh_until))}
        if reminder.is_wake_up:
            fields["recipient"] = Value(string_value=reminder.recipient)
            if reminder.eta is not None:
                fields["eta"] = Value(timestamp_value=timestamp(reminder.eta))
        else:
            fields["name"] = Value(string_value=reminder.name)
            fields["task"] = Value(bytes_value=reminder.task.SerializeToString(deterministic=True))
        return protos.Write(update=protos.Document(name=self.name(reminder.id), fields=fields))


@dataclass(frozen=True, slots=True)
class FoundReminder:
    """A reminder as it lies in Firestore."""

    document: str
    created_at: datetime
    version: Any  # the document's update_time
    fresh_until: datetime
    failures: int
    reminder: Reminder

    def delete(self) -> Any:
        """The write that removes it, if it is still as it was found."""
        return protos.Write(
            delete=self.document, current_document=protos.Precondition(update_time=self.version)
        )

    def put_off(self, until: datetime, failures: int) -> Any:
        """The write that lets the sweeper look at it again later, if it is still as it was found."""
        fields = {
            "fresh_until": Value(timestamp_value=timestamp(until)),
            "failures": Value(integer_value=failures),
        }
        return protos.Write(
            update=protos.Document(name=self.document, fields=fields),
            update_mask=protos.DocumentMask(field_paths=list(fields)),
            current_document=protos.Precondition(update_time=self.version),
        )


def decode(document: Any) -> FoundReminder:
    """The reminder in a document. One that lacks something comes back with a task that Cloud Tasks will refuse."""
    fields = document.fields
    fresh_until = moment(fields["fresh_until"].timestamp_value)
    id = document.name.rpartition("/")[2]
    if fields["recipient"].string_value:
        eta = moment(fields["eta"].timestamp_value) if "eta" in fields else None
        reminder = Reminder(id, fresh_until, recipient=fields["recipient"].string_value, eta=eta)
    else:
        try:
            task = TaskProto.FromString(fields["task"].bytes_value)
        except Exception:  # protobuf's DecodeError; the queue says what is missing
            task = TaskProto()
        reminder = Reminder(id, fresh_until, name=fields["name"].string_value or id, task=task)
    return FoundReminder(
        document=document.name,
        created_at=moment(document.create_time),
        version=document.update_time,
        fresh_until=fresh_until,
        failures=fields["failures"].integer_value,
        reminder=reminder,
    )


def query_stale(by: datetime, limit: int, after: FoundReminder | None) -> Any:
    """The query for the first reminders of a shard whose `fresh_until` is at most `by`, behind another one."""
    field = protos.StructuredQuery.FieldReference(field_path="fresh_until")
    ascending = protos.StructuredQuery.Direction.ASCENDING
    query = protos.StructuredQuery(
        where=protos.StructuredQuery.Filter(
            field_filter=protos.StructuredQuery.FieldFilter(
                field=field,
                op=protos.StructuredQuery.FieldFilter.Operator.LESS_THAN_OR_EQUAL,
                value=Value(timestamp_value=timestamp(by)),
            )
        ),
        order_by=[
            protos.StructuredQuery.Order(field=field, direction=ascending),
            protos.StructuredQuery.Order(
                field=protos.StructuredQuery.FieldReference(field_path="__name__"), direction=ascending
            ),
        ],
        limit={"value": limit},
    )
    query.from_.add(collection_id=REMINDERS)
    if after is not None:
        query.start_at.CopyFrom(
            protos.Cursor(
                values=[
                    Value(timestamp_value=timestamp(after.fresh_until)),
                    Value(reference_value=after.document),
                ],
                before=False,
            )
        )
    return query
