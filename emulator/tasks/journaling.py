"""What an engine has written down of its changes: the seam where a data folder is put in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

Table = Literal["queue", "task", "gone_queue", "gone_task"]
"""What is kept: queues and tasks, and the names of those that are gone and may not be used again yet."""


class Change(NamedTuple):
    """What stands under a name from now on; None: nothing. The bytes are the engine's own format."""

    table: Table
    name: str
    data: bytes | None


class Journal(Protocol):
    """Keeps what it is told to. The engine calls it under its lock, before it answers."""

    def write(self, changes: Sequence[Change]) -> None:
        """Keep changes that are one: all of them or none survive.

        Raises:
            Status: they cannot be kept.
        """

    def read(self) -> Iterator[Change]:
        """What is kept, in any order of tables; within one, in the order in which names were first written."""
        ...

    def clear(self) -> None:
        """Keep nothing any more."""

    def close(self) -> None:
        """Let go of the folder."""
