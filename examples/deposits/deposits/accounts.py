"""The accounts: each is a recipient, whose balance is its state."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from eventbox import DocumentProcessor, Event, EventBox, Mutation, Recipient, Transaction, Transition
from eventbox.sources import EventStore, StoredEvent


@dataclass
class Account:
    balance: int = 0
    deposits: int = 0


class AccountProcessor(DocumentProcessor[Account]):
    """Adds deposits to the balance, and notes in the same transaction that they have arrived."""

    def __init__(self, recipient: Recipient, store: EventStore) -> None:
        super().__init__(recipient, Account)
        self._store = store

    async def prepare_mutation(self, events: Sequence[Event], state: Account) -> Mutation[Account]:
        amounts = [json.loads(event.value)["amount"] for event in events]
        after = Account(state.balance + sum(amounts), state.deposits + len(amounts))

        async def received(transaction: Transaction) -> None:
            await self._store.mark_received([event.id for event in events], transaction=transaction)

        return Mutation([Transition(after, events=events, side_effect=received)] if events else [])


class Crediting:
    """Hands a stored deposit to its account; what a `Broadcaster` calls, as often as it takes."""

    def __init__(self, box: EventBox, store: EventStore) -> None:
        self._box = box
        self._store = store

    async def __call__(self, event: StoredEvent) -> None:
        account = json.loads(event.data)["to"]
        recipient = Recipient(self._box.client.collection("accounts").document(account), "account")
        await self._box.emit(event.data, to=recipient, id=event.id)  # its own ID: once, however often we come
        # A service would wake a worker here, by Cloud Tasks: eventbox.tasks. This example is its own worker.
        report = await self._box.drain(recipient, AccountProcessor(recipient, self._store))
        if not report.drained:
            raise RuntimeError(f"somebody else is crediting {account}")  # then the broadcaster tries again
