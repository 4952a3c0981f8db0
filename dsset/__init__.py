"""A set of uniquely-ID'd items under a Firestore document.

    from dsset import DSSet, Item

    orders = DSSet(client.document("queues/orders"))
    await orders.add([Item("order-1", b"...")])
    listing = await orders.list(100)
    ...
    orders.pop(transaction, listing, [item.id for item in listing.items])

See `DSSet` for what it promises and what it costs.
"""

from __future__ import annotations

from dsset.clock import Clock, SystemClock
from dsset.dsset import DSSet
from dsset.errors import AddError, DSSetError
from dsset.item_state import ItemState
from dsset.items import Item, ListedItem, Listing

__all__ = [
    "AddError",
    "Clock",
    "DSSet",
    "DSSetError",
    "Item",
    "ItemState",
    "ListedItem",
    "Listing",
    "SystemClock",
]
