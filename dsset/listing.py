"""What a set's listing makes of the answers to its query."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable

from dsset import documents, protos
from dsset.items import ListedItem, Listing


async def listed(
    blocks: AsyncGenerator[Iterable[bytes], None],
    *,
    limit: int,
    max_items: int,
    max_bytes: int,
    without: Collection[str],
    after: tuple[int, str] | None,
) -> Listing:
    """The items of a query that asked for `limit` documents behind `after`, within the bounds of `DSSet.list`.

    `blocks` are the query's encoded responses; they are closed.
    """
    items: list[ListedItem] = []
    size = seen = 0
    cut = False
    last = passed = None
    try:
        async for block in blocks:
            for response in map(protos.RunQueryResponse.FromString, block):
                last = response
                if not response.HasField("document"):
                    continue
                document = response.document
                seen += 1
                item = documents.decode(document)
                if item.id in without:
                    passed = document
                    continue
                size += len(item.value)
                if len(items) == max_items or (items and size > max_bytes):
                    cut = True
                    break
                passed = document
                # by the server's time it may not be due yet, where our clock is ahead
                if item.process_after is None or item.process_after <= documents.moment(response.read_time):
                    items.append(item)
            if cut or seen == limit:
                break
    finally:
        await blocks.aclose()
    assert last is not None, "a query answers with its read time at least"
    cursor = after if passed is None else documents.cursor(passed)
    return Listing(tuple(items), documents.moment(last.read_time), not cut and seen < limit, cursor)
