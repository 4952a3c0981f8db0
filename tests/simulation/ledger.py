"""What the simulated application was told, kept outside of all processes: what the judge compares with the truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

Key = tuple[str, str]
"""A recipient's path and an event's ID."""


@dataclass
class Emission:
    """All that is known of the emits of one event."""

    kind: str
    amount: int = 0
    due: datetime | None = None  # not to be handed over before
    marker: str | None = None  # what the same transaction writes
    added: int = 0  # so many emits said that they have added it
    unknown: int = 0  # so many emits have begun and said nothing that counts: they may have added it
    in_transactions: int = 0  # so many transactions that others may have added it in; nobody is told of these
    accepted: bool = False  # an emit has returned
    wakes: bool = True  # and one that wakes; or none was ever told not to


@dataclass
class Ledger:
    """All of it.

    Attributes:
        emissions: of producers; events that side effects emit follow from these.
        refused: batches whose error said that nothing happened.
        heard: batches whose caller was told of their commits.
        done: transitions whose callbacks were returned.
        refused_markers: transactions whose error said that nothing happened, by their markers.
        accepted_markers: transactions that returned, by their markers.
        expected_tasks: markers of transactions that put a task on the queue.
        effect_tasks: traces whose side effects put a task on the queue.
        plain_tasks: what was put on the queue outside of any; whether that returned.
        tasks: markers whose task was done.
        post_processed: how often each callback was run.
    """

    emissions: dict[Key, Emission] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    refused_markers: dict[str, str] = field(default_factory=dict)
    accepted_markers: set[str] = field(default_factory=set)
    effect_tasks: set[str] = field(default_factory=set)
    plain_tasks: dict[str, bool] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    post_processed: Counter[str] = field(default_factory=Counter)
    expected_tasks: set[str] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)
    batches: int = 0
    committed: int = 0
    contended: int = 0
