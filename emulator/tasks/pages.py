"""Lists that are told page by page, in the order of names."""

from __future__ import annotations

import heapq
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection

from emulator.tasks.limits import invalid


def page(names: Collection[str], size: int, token: str, largest: int) -> tuple[list[str], str]:
    """The names of a page, sorted, and the token of the next one, "" where there is none.

    A token tells the name that the page before has ended with, so what is added or deleted in between moves nothing.
    INVALID_ARGUMENT for a token that is none, or a negative size; a size of 0, or one that is too large, is `largest`.
    """
    if size < 0:
        raise invalid(f"page_size must not be negative: {size}.")
    size = min(size, largest) or largest
    after = _decode(token) if token else ""
    later = [name for name in names if name > after]
    found = heapq.nsmallest(size + 1, later) if size < len(later) else sorted(later)
    if len(found) <= size:
        return found, ""
    return found[:size], token_after(found[size - 1])


def token_after(name: str) -> str:
    """The token of the page that begins behind this name."""
    return urlsafe_b64encode(name.encode()).decode()


def _decode(token: str) -> str:
    try:
        return urlsafe_b64decode(token.encode("ascii")).decode("ascii")
    except ValueError as error:
        raise invalid("page_token is none that a listing has given.") from error
