"""`Ingestor`: what follows a feed with positions, and the `Result`s that it comes to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from eventbox.sources.committer import Pointer

W_contra = TypeVar("W_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a block that was processed.

    Args:
        parent: the block before it; None for the first.
        block: the block.
        error: why it could not be processed; None if it was.

    Checked when it is committed, not when it is made.
    """

    parent: Pointer | None
    block: Pointer
    error: BaseException | None = None


class Ingestor(Protocol[W_contra]):
    """Follows a feed from a position on.

    Attributes:
        name: what its place is kept under. Take another one when you want to begin anew.
    """

    name: str

    def ingest(self, writer: W_contra, parent: Pointer | None) -> AsyncIterator[Awaitable[Result]]:
        """An awaitable for each block behind `parent` (None: from the first), in the order of the feed.

        What is yielded is awaited side by side, and the results are committed in this order. Each writes its block's
        events by the `writer`, and must be harmless to repeat: a block that was processed but not committed comes
        again. Where it ends, it is called anew after a moment. It is closed whenever it is not needed any more.
        """
        ...

    def pointer_metric(self, pointer: Pointer) -> int:
        """The position as a number, for metrics and progress bars."""
        ...


def events_ingestor_name(version: int) -> str:
    """The name for an ingestor of events as they happen. A new version begins from the first block again."""
    return f"events_ingestor_v{_check_version(version)}"


def history_ingestor_name(version: int) -> str:
    """The name for an ingestor of what happened before. A new version begins from the first block again."""
    return f"history_ingestor_v{_check_version(version)}"


def _check_version(version: object) -> int:
    if not isinstance(version, int) or isinstance(version, bool):
        raise TypeError(f"version must be an int, not {type(version).__name__}")
    if version < 0:
        raise ValueError(f"version must not be negative: {version}")
    return version
