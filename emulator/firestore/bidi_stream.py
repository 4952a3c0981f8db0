"""What a bidirectional stream is to a front, whichever RPC it belongs to."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from emulator.firestore.waiter import Waiter


class BidiStream(Protocol):
    """The server's side of one stream, sans I/O. Every call is made under the service's lock."""

    @property
    def backlog(self) -> int:
        """How many requests it has taken and not dealt with."""

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


class RequestQueue:
    """What a client has sent and its stream has not dealt with yet.

    `ended` tells that the client will send no more.
    """

    def __init__(self) -> None:
        self.ended = False
        self._requests: deque[Any] = deque()
        self._waiter: Waiter | None = None

    def __len__(self) -> int:
        return len(self._requests)

    def put(self, request: Any) -> None:
        """Add a request."""
        self._requests.append(request)
        self.wake()

    def take(self) -> Any:
        """The next request, which is dealt with now."""
        return self._requests.popleft()

    def end(self) -> None:
        """Take note that the client will send no more."""
        self.ended = True
        self.wake()

    def close(self) -> None:
        """Drop what is left: nobody will hear the answers."""
        self._requests.clear()
        self.end()

    async def wait(self) -> None:
        """Return after the next `wake`: by a request, by the end, or by whoever has something else to tell."""
        self._waiter = Waiter(timed=False)
        await self._waiter

    def wake(self) -> None:
        if self._waiter is not None:
            self._waiter.wake()
