"""An order: its state, and what events do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from eventbox import DocumentProcessor, Event, Mutation, Recipient, Transaction, Transition, chain
from eventbox.processor import SideEffectFn
from eventbox.tasks import Task, TaskQueue
from orders.events import Overdue, Paid, Placed, decode, encode
from orders.mail import Letter

Status = Literal["new", "placed", "paid", "cancelled", "refund due"]

SUBJECTS: dict[Status, str] = {
    "paid": "Thank you: your order is on its way",
    "cancelled": "Your order was cancelled, since nobody paid for it",
    "refund due": "Your order was cancelled; you get your money back",
}


@dataclass(frozen=True)
class Order:
    """The document `orders/{order_id}`."""

    status: Status = "new"
    email: str = ""
    total: int = 0  # cents
    paid: int = 0  # cents
    overdue: bool = False


class OrderProcessor(DocumentProcessor[Order]):
    """Turns events into the next state of one order.

    Events come in batches and in any order, so they are counted first and judged together then: a payment that lies in
    the inbox beside `Overdue` is in time.
    """

    def __init__(self, recipient: Recipient, queue: TaskQueue, payment_time: timedelta) -> None:
        super().__init__(recipient, Order)
        self._queue = queue
        self._payment_time = payment_time

    async def prepare_mutation(self, events: Sequence[Event], state: Order) -> Mutation[Order]:
        if not events:
            return Mutation()
        order = state
        effects: list[SideEffectFn] = []
        for event in events:
            match decode(event.value):
                case Placed(email=email, total=total) if order.status == "new":
                    order = replace(order, status="placed", email=email, total=total)
                    effects.append(self._cancel_later(event))
                case Paid(amount=amount):
                    order = replace(order, paid=order.paid + amount)
                case Overdue():
                    order = replace(order, overdue=True)
        order = judged(order)
        if order.status != state.status and order.status in SUBJECTS:
            effects.append(self._write_to_customer(order))
        return Mutation([Transition(order, events=events, side_effect=chain(*effects))])

    def _cancel_later(self, placed: Event) -> SideEffectFn:
        """The order's own alarm clock: an event to itself, that nobody sees before its time."""

        async def effect(transaction: Transaction) -> None:
            await self._queue.send(
                encode(Overdue()),
                self.recipient,
                id="overdue",
                process_after=placed.emitted_at + self._payment_time,
                transaction=transaction,
            )

        return effect

    def _write_to_customer(self, order: Order) -> SideEffectFn:
        """The e-mail is sent if and only if the new state is saved."""
        letter = Letter(to=order.email, subject=SUBJECTS[order.status], order=self.recipient.ref.id)

        async def effect(transaction: Transaction) -> None:
            await self._queue.enqueue(Task("/tasks/mail", letter.encode()), transaction=transaction)

        return effect


def judged(order: Order) -> Order:
    """The order in the status that its facts call for."""
    if order.status == "placed" and order.paid >= order.total:
        return replace(order, status="paid")
    if order.status == "placed" and order.overdue:
        order = replace(order, status="cancelled")
    if order.status == "cancelled" and order.paid:
        return replace(order, status="refund due")
    return order
