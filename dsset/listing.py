"""What a set's listing makes of the answers to its query."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable

from dsset import documents
from dsset.items import MAX_INT32, ListedItem, Listing
from dsset.listed_protos import RunQueryResponse


async def listed(
    blocks: AsyncGenerator[Iterable[bytes], None],
    *,
    limit: int,
    max_items: int = MAX_INT32,
    max_bytes: int = MAX_INT32,
    without: Collection[str] = (),
    after: tuple[int, str] | None,
    due_only: bool = True,
) -> Listing:
    """The items of a query that asked for `limit` documents behind `after`, within the bounds of `DSSet.list`.

    `blocks` are the query's encoded responses; they are closed. With `due_only`, what is not due yet by the server's
    time is left out, where our clock is ahead.
    """
    items: list[ListedItem] = []
    size = seen = 0
    cut = False
    last = passed = None
    try:
        async for block in blocks:
            for response in map(RunQueryResponse.FromString, block):
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
                if (
                    item.process_after is None
                    or not due_only
                    or item.process_after <= documents.moment(response.read_time)
                ):
                    items.append(item)
            if cut or seen == limit:
                break
    finally:
        await blocks.aclose()
    assert last is not None, "a query answers with its read time at least"
    cursor = after if passed is None else documents.cursor(passed)
    return Listing(tuple(items), documents.moment(last.read_time), not cut and seen < limit, cursor)
