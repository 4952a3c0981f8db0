"""Accounts, between which the simulation and the chaos move money: a state, and two kinds of processors of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from eventbox import DocumentProcessor, Event, Mutation, Recipient, Transaction

OPENING = 1_000
"""What each account begins with."""


@dataclass
class Account:
    """The state."""

    balance: int = OPENING
    applied: list[str] = field(default_factory=list)


class Accounting(Protocol):
    """What all kinds of processors make of events."""

    def mutation(self, events: Sequence[Event], state: Account) -> Mutation[Account]: ...


class AccountProcessor(DocumentProcessor[Account]):
    """Its state is the recipient's document, as a dataclass."""

    def __init__(self, to: Recipient, accounting: Accounting) -> None:
        super().__init__(to, Account)
        self._accounting = accounting

    async def prepare_mutation(self, events: Sequence[Event], state: Account) -> Mutation[Account]:
        return self._accounting.mutation(events, state)


class PlainProcessor:
    """Does by hand what `DocumentProcessor` does, as users may."""

    def __init__(self, to: Recipient, accounting: Accounting) -> None:
        self._ref = to.ref
        self._accounting = accounting

    async def load_state(self) -> tuple[Account, int]:
        snapshot = await self._ref.get(retry=None)
        if not snapshot.exists:
            return Account(), 0
        return Account(snapshot.get("balance"), snapshot.get("applied")), snapshot.get("eventbox_eversion")

    async def prepare_mutation(self, events: Sequence[Event], state: Account) -> Mutation[Account]:
        return self._accounting.mutation(events, state)

    async def fetch_eversion(self, transaction: Transaction) -> int:
        snapshot = await self._ref.get(transaction=transaction)
        return snapshot.get("eventbox_eversion") if snapshot.exists else 0

    async def save_state(self, transaction: Transaction, state: Account, eversion: int) -> None:
        fields = {"balance": state.balance, "applied": state.applied, "eventbox_eversion": eversion}
        transaction.set(self._ref, fields)
