"""Emitting events: checked as a whole first, then written into the recipient's inbox."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore_v1.async_transaction import AsyncTransaction

from dsset import AddError, DSSet
from dsset.items import Item
from eventbox.errors import EmitError
from eventbox.events import NewEvent, Receipt
from eventbox.inbox import TRACEPARENT, Inboxes
from eventbox.recipient import Recipient
from eventbox.telemetry import Telemetry, traceparent_of
from eventbox.transaction import Transaction


def to_items(events: Iterable[NewEvent], rng: Random) -> list[Item]:
    """The items to add, with an ID for each event that has none. The set checks them.

    Raises:
        TypeError: one of them is no event.
    """
    items = []
    for position, event in enumerate(events):
        if not isinstance(event, NewEvent):
            raise TypeError(f"event {position} must be a NewEvent, not {type(event).__name__}")
        items.append(new_item(event.value, event.id, event.process_after, rng))
    return items


def new_item(value: bytes, id: str | None, process_after: datetime | None, rng: Random) -> Item:
    """The item to add for an event; the set checks it."""
    return Item(rng.randbytes(16).hex() if id is None else id, value, process_after)


async def emit_item(
    item: Item, to: Recipient, inboxes: Inboxes, *, timeout: timedelta, telemetry: Telemetry
) -> Receipt:
    """Write a single item outside a transaction: `emit_items`, at less work."""
    with telemetry.emitting(to) as span:
        traceparent = traceparent_of(span)
        if traceparent is not None:
            item = replace(item, metadata={TRACEPARENT: traceparent})
        try:
            new = await inboxes.add_one(item, to, timeout=timeout)
        except AddError as error:
            raise EmitError(str(to), [], error.errors) from error.__cause__
        telemetry.sent(to, new)
        return Receipt(item.id, not new)


async def emit_items(
    items: list[Item],
    to: Recipient,
    inbox: DSSet,
    *,
    transaction: AsyncTransaction | None,
    timeout: timedelta,
    telemetry: Telemetry,
) -> list[Receipt]:
    """Write the items; a receipt for each, in order."""
    with telemetry.emitting(to) as span:
        traceparent = traceparent_of(span)
        if traceparent is not None:
            items = [replace(item, metadata={TRACEPARENT: traceparent}) for item in items]
        if transaction is not None:
            await inbox.add(items, transaction=transaction)
            if isinstance(transaction, Transaction):
                transaction.on_commit(lambda: telemetry.sent(to, len(items)))
            return [Receipt(item.id, None) for item in items]
        try:
            new = await inbox.add(items, timeout=timeout)
        except AddError as error:
            written = [
                Receipt(item.id, not result)
                for item, result in zip(items, error.results, strict=True)
                if result is not None
            ]
            telemetry.sent(to, sum(not receipt.duplicate for receipt in written))
            raise EmitError(str(to), written, error.errors) from error.__cause__
        telemetry.sent(to, sum(new))
        return [Receipt(item.id, not was_new) for item, was_new in zip(items, new, strict=True)]


async def emit_with(
    item: Item,
    others: Sequence[Any],
    to: Recipient,
    inbox: DSSet,
    *,
    timeout: timedelta,
    telemetry: Telemetry,
) -> tuple[Receipt, datetime | None]:
    """Write the item and carry out other writes in one commit; its receipt, and the commit's time where it is known."""
    with telemetry.emitting(to) as span:
        traceparent = traceparent_of(span)
        if traceparent is not None:
            item = replace(item, metadata={TRACEPARENT: traceparent})
        try:
            added = await inbox.add_with(item, others, timeout=timeout)
        except GoogleAPICallError as error:
            raise EmitError(str(to), [], {0: error}) from error
        telemetry.sent(to, int(added.new))
        return Receipt(item.id, not added.new), added.commit_time
