"""What a bidirectional stream is to a front, whichever RPC it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class BidiStream(Protocol):
    """The server's side of one stream, sans I/O. Every call is made under the service's lock."""

    def receive(self, request: Any) -> None:
        """Take a request; what becomes of it is told by `next`."""

    def end_requests(self) -> None:
        """The client will send no more."""

    async def next(self) -> Sequence[Any] | None:
        """The next responses, suspending on Waiters until there are some; None: the stream has ended.

        Raises:
            Status: the stream has failed.
        """

    def close(self) -> None:
        """Nobody will read on: let go of everything. A `next` under way returns None."""
