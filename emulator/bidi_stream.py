"""What a bidirectional stream is to whoever holds it, whichever RPC it belongs to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any

from emulator.waiter import Waiter


class BidiStream(ABC):
    """The server's side of one stream, sans I/O: it takes requests at once, and deals with them as it is read.

    Every call is made under the service's lock.
    """

    def __init__(self) -> None:
        self._requests: deque[Any] = deque()
        self._ended = False  # the client will send no more
        self._waiter: Waiter | None = None

    @property
    def backlog(self) -> int:
        """How many requests it has taken and not dealt with."""
        return len(self._requests)

    def receive(self, request: Any) -> None:
        """Take a request; what becomes of it is told by `next`."""
        self._requests.append(request)
        self._wake()

    def end_requests(self) -> None:
        """The client will send no more."""
        self._ended = True
        self._wake()

    @abstractmethod
    async def next(self) -> Sequence[Any] | None:
        """The next responses, suspending on Waiters until there are some; None: the stream has ended.

        Raises:
            Status: the stream has failed.
        """

    def close(self) -> None:
        """Nobody will read on: let go of everything. A `next` that waits for something to do returns None."""
        self._requests.clear()
        self.end_requests()

    async def _wait(self) -> None:
        """Return once a request has come, or the end, or something else to tell."""
        self._waiter = Waiter(timed=False)
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None:
            self._waiter.wake()
