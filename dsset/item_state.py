"""`ItemState`: what lies in an item's document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dsset import documents


@dataclass(frozen=True, slots=True)
class ItemState:
    """What lies in an item's document: still in the set, or gone, and whose pop made it so (empty: nobody's)."""

    gone: bool
    popped_by: bytes
    version: Any  # the document's update_time, a Timestamp


def item_state(response: Any) -> ItemState | None:
    """What a BatchGetDocumentsResponse tells of an item's document; None: it is not there."""
    if response.WhichOneof("result") == "missing":
        return None
    fields = response.found.fields
    return ItemState(
        gone=fields["due"].integer_value == documents.GONE,
        popped_by=fields["popped_by"].bytes_value,
        version=response.found.update_time,
    )
