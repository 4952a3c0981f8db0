"""The README's processor, as a program: an order is paid once, however often the webhook calls."""

import asyncio
from dataclasses import dataclass

from emulator.firestore import Emulator
from eventbox import DocumentProcessor, EventBox, Mutation, Recipient, Transition


@dataclass
class Order:
    status: str = "new"
    paid: int = 0


class OrderProcessor(DocumentProcessor[Order]):
    async def prepare_mutation(self, events, state):
        if not events:
            return Mutation()
        paid = state.paid + sum(int(event.value) for event in events)
        return Mutation([Transition(Order("paid", paid), events=events)])


async def main() -> None:
    client = Emulator().client()  # in production: google.cloud.firestore.AsyncClient()
    box, order = EventBox(client), Recipient(client.document("orders/1"), "order")
    for delivery_id in ("a", "b", "a"):  # the webhook calls for "a" twice
        print(await box.emit(b"20", to=order, id=delivery_id))
    await box.process_batch(order, OrderProcessor(order, Order))
    print((await order.ref.get()).to_dict())


asyncio.run(main())
