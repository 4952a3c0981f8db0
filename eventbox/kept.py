"""What a drain keeps from one batch for the next: the state as it was committed, and a listing that is under way.

Both are of a moment before the next batch begins, and may be out of date by then. That costs a batch, never an event:
the version and each event that is consumed are preconditions of the next commit too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from eventbox.listing_ahead import ListingAhead

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Kept(Generic[S]):
    """The state after a commit, and what comes behind the events that it dealt with.

    `loaded` is what the processor remembers of its loading, where it has that to itself. Of a Kept with a `listing` the
    batch that takes it over, or `discard`, must be called: a task is under way.
    """

    state: S
    eversion: int
    loaded: Any = None
    listing: ListingAhead | None = None

    def with_listing(self, listing: ListingAhead | None) -> Kept[S]:
        return replace(self, listing=listing)

    async def discard(self) -> None:
        """End the listing that is under way."""
        if self.listing is not None:
            await self.listing.discard()
