"""What a set's listing makes of the answers to its query."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any

from dsset import documents
from dsset.items import ListedItem, Listing


async def listed(
    responses: AsyncIterator[Any],
    *,
    limit: int,
    max_items: int,
    max_bytes: int,
    without: Collection[str],
    after: tuple[int, str] | None,
) -> Listing:
    """The items of a query that asked for `limit` documents behind `after`, within the bounds of `DSSet.list`."""
    items: list[ListedItem] = []
    size = seen = 0
    last = passed = None
    try:
        async for response in responses:
            last = response
            if not response.HasField("document"):
                continue
            seen += 1
            item = documents.decode(response.document)
            if item.id in without:
                passed = response.document
                continue
            size += len(item.value)
            if len(items) == max_items or (items and size > max_bytes):
                complete = False
                break
            passed = response.document
            # by the server's time it may not be due yet, where our clock is ahead
            if item.process_after is None or item.process_after <= documents.moment(response.read_time):
                items.append(item)
        else:
            complete = seen < limit
    finally:
        await responses.aclose()  # type: ignore[attr-defined]
    assert last is not None, "a query answers with its read time at least"
    cursor = after if passed is None else documents.cursor(passed)
    return Listing(tuple(items), documents.moment(last.read_time), complete, cursor)
