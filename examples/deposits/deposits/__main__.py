"""`python -m deposits chain.json`: one process of the service. Start as many as you like."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import timedelta

from google.cloud.firestore import AsyncClient

from deposits.accounts import Crediting
from deposits.listener import listen
from eventbox import EventBox
from eventbox.sources import Broadcaster, DistributedLock, EventStore, Leader, ListenerManager, Service

HEARTBEAT = timedelta(seconds=0.5)  # a production service takes a few seconds: each is a write
REBROADCAST = timedelta(seconds=2)  # and here some minutes


async def main(chain: str) -> None:
    client = AsyncClient()
    store = EventStore(client.document("sources/deposits"), event_types={"deposit"})
    manager = ListenerManager(
        Service("deposits", config={"chain": chain}),
        store,
        DistributedLock(client, "deposits/listeners", heartbeat=HEARTBEAT),
        listeners={"chain": listen},
    )
    crediting = Broadcaster(
        store, Crediting(EventBox(client), store), rebroadcast_after=REBROADCAST, concurrency=1
    )
    leader = Leader(DistributedLock(client, "deposits/crediting", heartbeat=HEARTBEAT))
    async with asyncio.TaskGroup() as group:
        group.create_task(manager.run())
        group.create_task(leader.run(lambda token: crediting.run()))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    asyncio.run(main(sys.argv[1]))
