"""What a load costs a day on Google's services: the cost table, by how often its rows happen, by prices."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

DAY = 86_400  # s
_DAYS = 30.4  # a month
SECONDS_A_MONTH = DAY * _DAYS


@dataclass(frozen=True, slots=True)
class Prices:
    """In USD. The defaults are list prices of a multi-region in the US, and Cloud Run's of tier 1; look yours up.

    Raises:
        ValueError: one is below 0, or no number.
    """

    reads: float = 0.06  # for 100,000
    writes: float = 0.18  # for 100,000
    deletes: float = 0.02  # for 100,000
    storage: float = 0.18  # for a GiB and month
    tasks: float = 0.40  # for 1,000,000 operations: calls, and attempts to deliver
    requests: float = 0.40  # for 1,000,000, to Cloud Run
    vcpu: float = 0.000024  # for a second
    memory: float = 0.0000025  # for a GiB and second

    def __post_init__(self) -> None:
        _check(self, above_zero=())


@dataclass(frozen=True, slots=True)
class Load:
    """What comes in, and how it is handled. Events come evenly spread, over time and over the active recipients.

    Raises:
        ValueError: a number cannot be: below 0, or 0 where there has to be some, or a share above 1.
    """

    events_per_s: float = 10_000
    recipients: int = 1_000_000
    active: float = 1.0  # the share of recipients that get events at all
    gathering_s: float = 1.0  # wake-ups of one recipient within so many seconds are one: 1 by `send`
    reminders: bool = True  # by `send`; False: `emit`, then `notify`
    emitters: int = 50  # processes, each of which remembers what it has woken
    batch_cpu_ms: float = 4.0  # of the worker, for each batch, its HTTP request included
    event_cpu_ms: float = 0.1  # and for each event
    busy: float = 0.6  # the share of an instance's CPU that is used, and not only paid
    gib_per_vcpu: float = 0.5
    request_ms: float = 100.0  # that a request is paid for at least; those at one time share it
    tombstone_bytes: float = 450  # by Firestore's rules, with its entry in the one index
    tombstone_days: float = 2.0  # until TTL has removed it

    def __post_init__(self) -> None:
        _check(
            self,
            above_zero=("events_per_s", "recipients", "active", "gathering_s", "emitters", "busy"),
            shares=("active", "busy"),
        )

    @property
    def batches_per_s(self) -> float:
        """Each recipient has one for each stretch of gathering in which it got events."""
        active = self.recipients * self.active
        return active * -math.expm1(-self.events_per_s / active * self.gathering_s) / self.gathering_s

    @property
    def events_per_batch(self) -> float:
        """On average."""
        return self.events_per_s / self.batches_per_s

    @property
    def creations_per_s(self) -> float:
        """Calls of Cloud Tasks: each emitting process makes sure of each wake-up once."""
        active = self.recipients * self.active
        each = self.events_per_s / active / self.emitters * self.gathering_s
        return self.emitters * active * -math.expm1(-each) / self.gathering_s

    @property
    def paid_vcpus(self) -> float:
        """Cores paid for at a time: what the work takes, and a core for as long as any request is under way."""
        used = (self.batches_per_s * self.batch_cpu_ms + self.events_per_s * self.event_cpu_ms) / 1_000
        return max(used / self.busy, -math.expm1(-self.batches_per_s * self.request_ms / 1_000))


@dataclass(frozen=True, slots=True)
class Day:
    """One line of the bill: how much of it a day, and what that costs."""

    what: str
    amount: float
    usd: float


def day(load: Load, prices: Prices) -> list[Day]:
    """The bill of a day, line by line."""
    events, batches = load.events_per_s * DAY, load.batches_per_s * DAY
    reminders = events if load.reminders else 0.0
    reads = events + batches  # each event is listed, each state loaded
    writes = (
        events + reminders + events + batches
    )  # emitted, with its reminder, consumed; and each state saved
    deletes = reminders + events  # TTL takes the tombstones
    operations = (load.creations_per_s + load.batches_per_s) * DAY
    vcpu_s = load.paid_vcpus * DAY
    gib = events * load.tombstone_days * load.tombstone_bytes / 2**30
    return [
        Day("Firestore reads", reads, reads / 1e5 * prices.reads),
        Day("Firestore writes", writes, writes / 1e5 * prices.writes),
        Day("Firestore deletes", deletes, deletes / 1e5 * prices.deletes),
        Day("Firestore storage of tombstones, GiB", gib, gib * prices.storage / _DAYS),
        Day("Cloud Tasks operations", operations, operations / 1e6 * prices.tasks),
        Day("Cloud Run requests", batches, batches / 1e6 * prices.requests),
        Day("Cloud Run vCPU seconds", vcpu_s, vcpu_s * prices.vcpu),
        Day("Cloud Run GiB seconds", vcpu_s * load.gib_per_vcpu, vcpu_s * load.gib_per_vcpu * prices.memory),
    ]


def _check(given: Any, *, above_zero: Collection[str], shares: Collection[str] = ()) -> None:
    for field in fields(given):
        value = getattr(given, field.name)
        if not 0 <= value < math.inf:
            raise ValueError(f"{field.name} must be a number from 0 up, not {value}")
        if field.name in above_zero and not value:
            raise ValueError(f"{field.name} must be more than 0")
        if field.name in shares and value > 1:
            raise ValueError(f"{field.name} is a share, at most 1, not {value}")
