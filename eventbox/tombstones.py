"""What the tombstones of consumed events tell of a commit whose answer was lost."""

from __future__ import annotations

from collections.abc import Iterable

from dsset import DSSet, Listing
from eventbox.commit import Outcome


async def ask_tombstones(inbox: DSSet, listing: Listing, ids: Iterable[str], token: bytes) -> Outcome | None:
    """What became of the commit of this token that was to consume these events; None where nothing is left to ask.

    Cost: 1 RPC and 1 read; again for each tombstone that TTL has taken.
    """
    for item_id in ids:
        state = (await inbox.states([item_id]))[item_id]
        if state is None:
            continue  # TTL has taken the tombstone: ask the next one
        if state.gone:
            return Outcome.DONE if state.popped_by == token else Outcome.NEVER
        if state.version.SerializeToString() != listing.by_id[item_id]._version:
            return Outcome.NEVER  # written anew since: our precondition can never hold again
        return Outcome.PENDING  # as it was listed: the lost commit may still arrive
    return None
