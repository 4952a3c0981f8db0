import asyncio
from dataclasses import dataclass

from emulator.firestore import Emulator
from eventbox import DocumentProcessor, EventBox, Mutation, Recipient, Transition


@dataclass
class Order:
    paid: int = 0


class OrderProcessor(DocumentProcessor[Order]):
    async def prepare_mutation(self, events, state):
        paid = state.paid + sum(int(event.value) for event in events)
        return Mutation([Transition(Order(paid), events=events)])


async def main():
    client = Emulator().client()  # in production: google.cloud.firestore.AsyncClient()
    box, order = EventBox(client), Recipient(client.document("orders/1"), "order")
    for delivery_id in ("a", "b", "a"):  # the payment webhook calls twice for "a"
        print(await box.emit(b"20", to=order, id=delivery_id))
    await box.process_batch(order, OrderProcessor(order, Order))
    print((await order.ref.get()).to_dict())  # paid: 40


asyncio.run(main())
