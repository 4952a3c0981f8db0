"""A service behind the gRPC server that does what tests tell it: it shows what the server does by itself."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from google.protobuf.wrappers_pb2 import BytesValue
from grpc import StatusCode

from emulator.bidi_stream import BidiStream
from emulator.clock import SystemClock
from emulator.faults import Faults
from emulator.firestore import Fault
from emulator.front import Front
from emulator.grpc_server import serve
from emulator.rpcs import Rpcs
from emulator.waiter import Waiter

MAX_BYTES = 2**20
"""Of a request, to the service; the server takes four times as much."""

_TYPES = (BytesValue, BytesValue)


class TalkingService:
    """`Say` and `Stream` answer what they are told to, by the bytes that they are sent; `Talk` says them again."""

    rpcs = Rpcs("test.Talking", {"Say": _TYPES}, {"Stream": _TYPES}, {"Talk": _TYPES})

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.answers: dict[bytes, Callable[[], Any]] = {}
        """What makes the response, or the responses, to a request; else it is sent back."""
        self.waiters: list[Waiter] = []
        self.waiting = 0
        self.sizes: list[int] = []
        self.called_rpcs: Counter[str] = Counter()
        self.talks: list[Talk] = []

    def called(self, rpc: str) -> None:
        self.called_rpcs[rpc] += 1

    def pause_before(self, rpc: str, request: Any) -> timedelta | None:
        return None

    def refused(self, request: Any, code: StatusCode) -> None: ...

    async def unary(self, rpc: str, request: Any, received: int | None = None) -> Any:
        self.sizes.append(len(request.value))
        return BytesValue(value=await self._answer(request.value))

    async def stream(self, rpc: str, request: Any) -> Iterator[Any]:
        answers = await self._answer(request.value)
        return (BytesValue(value=answer) for answer in answers)

    async def _answer(self, request: bytes) -> Any:
        if request == b"wait":
            self.waiting += 1
            try:
                self.waiters.append(Waiter(timed=False))
                await self.waiters[-1]
            finally:
                self.waiting -= 1
        return self.answers[request]() if request in self.answers else request

    def converse(self, rpc: str) -> BidiStream:
        self.talks.append(Talk(self.answers))
        return self.talks[-1]

    def tick(self) -> None: ...

    def next_expiry(self) -> timedelta | None:
        return None


class Talk(BidiStream):
    """Says each request again."""

    def __init__(self, answers: dict[bytes, Callable[[], Any]]) -> None:
        super().__init__()
        self._answers = answers
        self.taken = 0
        self.is_closed = False

    def receive(self, request: Any) -> None:
        self.taken += 1
        if request.value in self._answers:
            self._answers[request.value]()
        super().receive(request)

    async def next(self) -> Sequence[Any] | None:
        while not self._requests:
            if self._ended:
                return None
            await self._wait()
        return [self._requests.popleft()]

    def close(self) -> None:
        self.is_closed = True
        super().close()


@asynccontextmanager
async def talking(service: TalkingService) -> AsyncIterator[str]:
    """Serve it; gives the address."""
    front = Front(service, SystemClock(), Faults(Fault))
    async with serve(front, "127.0.0.1:0", max_request_bytes=MAX_BYTES) as address:
        yield address
