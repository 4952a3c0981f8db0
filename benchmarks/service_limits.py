"""The documented limits of Google's services that a load comes near, by how much of each it uses."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.daily_bill import SECONDS_A_MONTH, Load

_MAX_EVENTS = 1_000  # of a batch, by default

CONSUMED_EVENT_BYTES = 310
"""Of a commit, for an event with a generated ID and a recipient with a short path, whatever its value was."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A documented limit. `used` over `allowed` tells how soon it is met; `remedy` what to do about it."""

    what: str
    used: float
    allowed: float
    remedy: str

    @property
    def share(self) -> float:
        """How much of it is used; above 1 it is met."""
        return self.used / self.allowed


def limits(load: Load) -> list[Limit]:
    """The documented limits that such a load comes near, the first one that is met first."""
    operations = (load.creations_per_s + load.batches_per_s) * SECONDS_A_MONTH
    instances = load.paid_vcpus  # of one each
    active = load.recipients * load.active
    saves = max(load.batches_per_s, load.events_per_s / _MAX_EVENTS) / active
    writes = load.events_per_s * (3 if load.reminders else 2) + load.batches_per_s
    queues = math.ceil(load.batches_per_s / 500 * 1.5)
    ramp = _ramp_minutes(writes)
    found = [
        Limit(
            "Cloud Tasks: dispatches of one queue, a second",
            load.batches_per_s,
            500,
            f"{queues} queues, and a recipient's by a hash of its path"
            if queues > 1
            else "none needed: one queue",
        ),
        Limit(
            "Cloud Tasks: operations a month at the list price",
            operations,
            5e9,
            "a price of your own, from Google's sales; or gather for longer",
        ),
        Limit(
            "Firestore: writes a second that a new database takes at once",
            writes,
            500,
            f"ramp up by half every five minutes: {ramp} minutes" if ramp else "none needed",
        ),
        Limit(
            "Firestore: writes a second to one document (a state)",
            saves,
            1,
            "none needed: a recipient is woken once a second at most"
            if saves <= 1
            else f"a larger `max_events` than {_MAX_EVENTS:,}, or more recipients",
        ),
        Limit(
            "Firestore: bytes of one commit",
            load.events_per_batch * CONSUMED_EVENT_BYTES,
            10 * 2**20,
            "`max_events`; what is left is the next batch of the same drain",
        ),
        Limit(
            "Cloud Run: instances of a service, by default",
            instances,
            100,
            f"`max-instances` {math.ceil(instances * 1.5)}, and the quota of the region",
        ),
        Limit(
            "Cloud Tasks: requests a minute",
            load.creations_per_s * 60,
            6e6,
            "a higher quota, or a project more",
        ),
    ]
    if load.reminders:
        found.append(
            Limit(
                "Firestore: reminders a second of one queue with 16 shards",
                load.events_per_s / queues,
                16 * 500,
                "several queues, or `TaskQueue(shards=...)`, up to 100",
            )
        )
    return sorted(found, key=lambda limit: -limit.share)


def _ramp_minutes(writes_per_s: float) -> int:
    """The documented ramp: 500 a second, and half as much again every five minutes."""
    return max(0, math.ceil(math.log(writes_per_s / 500) / math.log(1.5))) * 5
