"""The listener: it follows the chain, waits until a block cannot be replaced any more, and stores its deposits."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from deposits import chain
from eventbox.sources import ListenerStore, Service

CONFIRMATIONS = chain.REORGANISATION
"""A block counts when so many follow it: then no reorganisation reaches it."""

PLACE = b"next height"
INTERVAL_S = 0.1


async def listen(service: Service, store: ListenerStore) -> None:
    """Go on from where the last one was, wherever that was killed: a deposit that is stored twice is stored once."""
    path = Path(service.config["chain"])
    height = int(await store.get(PLACE) or b"0")
    service.logger.info("following %s from block %d", path, height)
    while True:
        blocks = chain.read(path)
        for block in blocks[height : max(0, len(blocks) - CONFIRMATIONS)]:
            for index, deposit in enumerate(block.deposits):
                # the block and the index make equal deposits different events
                event = {"block": block.hash, "index": index, "to": deposit.account, "amount": deposit.amount}
                await store.broadcast("deposit", json.dumps(event).encode())
            height = block.height + 1
            await store.set(PLACE, str(height).encode())
        await asyncio.sleep(INTERVAL_S)
