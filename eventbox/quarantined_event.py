"""`QuarantinedEvent`: an event that was set aside, and how it lies in Firestore.

Its document is in the subcollection `eventbox_quarantine` of its recipient, under the hash of its ID. It has the fields
that it had in the inbox (`id`, `value`, `due`, `token`, `metadata`) and besides

    created_at      when it was emitted
    error           the error's type and message
    traceback       where it was raised
    attempts        in how many drains it had failed by itself
    quarantined_at  the server's time of the commit that set it aside
    expire_at       when a TTL policy may remove it; absent where it is kept for ever
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dsset import documents, protos
from eventbox.events import Event
from eventbox.failure import Failure
from eventbox.inbox import to_event

_SERVER_TIME = protos.DocumentTransform.FieldTransform(field_path="quarantined_at", set_to_server_value=1)


@dataclass(frozen=True, slots=True)
class QuarantinedEvent:
    """An event that was set aside, since it made `prepare_mutation` or its side effect fail again and again.

    `error` is the type and message of the latest error, and `traceback` where it was raised (16,000 bytes at most).
    `attempts` tells in how many drains it had failed by itself; `quarantined_at` is the server's time.
    """

    event: Event
    error: str
    traceback: str
    attempts: int
    quarantined_at: datetime


def encode(name: str, failure: Failure, attempts: int, expire_at: datetime | None) -> Any:
    """The write that puts an event into quarantine."""
    item = failure.listing.by_id[failure.event.id]
    fields = documents.fields_of(item)
    fields["error"] = protos.Value(string_value=failure.summary)
    fields["traceback"] = protos.Value(string_value=failure.traceback)
    fields["attempts"] = protos.Value(integer_value=attempts)
    if expire_at is not None:
        fields["expire_at"] = documents.timestamp(expire_at)
    return protos.Write(update=protos.Document(name=name, fields=fields), update_transforms=[_SERVER_TIME])


def decode(document: Any) -> QuarantinedEvent:
    """The event in a document of the quarantine."""
    fields = document.fields
    return QuarantinedEvent(
        event=to_event(documents.decode(documents.as_listed(document))),
        error=fields["error"].string_value,
        traceback=fields["traceback"].string_value,
        attempts=fields["attempts"].integer_value,
        quarantined_at=documents.moment(fields["quarantined_at"].timestamp_value),
    )
