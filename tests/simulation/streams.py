"""A bidirectional stream over the simulated network: it is slow, it is cut, and at times it falls silent first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from emulator.status import Status
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.network import Network

_CUT_WITH = (StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.CANCELLED)
_LONGEST_SILENCE = 60.0
"""Seconds after which a connection over which nothing comes any more is noticed to be dead."""


class Stream:
    """What a process holds of a stream; `begin` opens the service's side of it.

    What is sent arrives after a latency, in order, and so do the responses. Each time that something travels, the
    stream may be cut: who reads gets an error, at once or after a silence, and the service is told nothing but that
    the stream is closed.
    """

    def __init__(
        self, network: Network, process: Process, rpc: str, begin: Callable[[], Any], *, number: int
    ) -> None:
        self._network = network
        self._process = process
        self._name = f"{rpc} #{number}"
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._inner: Any = None
        self._pump: asyncio.Task[None] | None = None
        self._heard: deque[Sequence[Any] | Status | None] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._arrives = 0.0  # nothing overtakes what was sent before
        self._returns = 0.0
        self._cut = False
        self._closed = False

    # What the channel calls -------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """How many requests were sent and not dealt with; nobody here asks."""
        return 0

    def send(self, request: Any) -> None:
        """Send a request."""
        told = type(request)()
        told.CopyFrom(request)
        told.add_target.ClearField("resume_token")  # each emulator has its own
        self._network.history.add(
            self._process.name, f"> {self._name}", told.SerializeToString(deterministic=True)
        )
        if self._is_cut("before"):
            return
        self._there(self._receive, request)

    def done_writing(self) -> None:
        """Send no more."""
        self._there(self._end_requests)

    def fail(self, status: Status) -> None:
        """End it with an error."""
        self._hear(status)
        self.close()

    async def read(self) -> Sequence[Any] | None:
        """The next responses; None: the stream has ended. A Status where it fails."""
        while not self._heard:
            self._waiter = self._loop.create_future()
            await self._waiter
        heard = self._heard.popleft()
        if isinstance(heard, Status):
            raise heard
        return heard

    def close(self) -> None:
        """Give the stream up."""
        if not self._closed:
            self._closed = True
            self._hear(None)
            self._hang_up()

    # On the way -------------------------------------------------------------------------------------------

    def _there(self, callback: Callable[..., None], *args: Any) -> None:
        self._arrives = max(self._arrives, self._loop.time() + self._network.latency(self._process))
        self._loop.call_at(self._arrives, callback, *args, context=Context())

    def _back(self, callback: Callable[..., None], *args: Any) -> None:
        self._returns = max(self._returns, self._loop.time() + self._network.latency(self._process))
        self._loop.call_at(self._returns, callback, *args, context=Context())

    def _is_cut(self, fault: str) -> bool:
        network = self._network
        share = getattr(network.weather, fault)
        if self._cut or (share and network.rng.random() < share):
            if not self._cut:
                self._cut = True
                silence = 0.0
                if network.weather.silent and network.rng.random() < network.weather.silent:
                    silence = network.rng.uniform(0.0, _LONGEST_SILENCE)
                code = network.rng.choice(_CUT_WITH)
                network.history.fault(
                    self._process.name,
                    "stream cut",
                    f"  {self._name} is cut with {code.name}, noticed after {silence:.1f} s",
                )
                status = Status(code, "simulated: the stream is cut")
                self._returns = max(self._returns, self._loop.time() + silence)
                self._back(self._hear, status)
                self._hang_up()
            return True
        return False

    def _note(self, what: str) -> None:
        self._network.history.add(self._process.name, f"  {self._name} {what}")

    # In the service ---------------------------------------------------------------------------------------

    def _receive(self, request: Any) -> None:
        if self._closed or self._cut:
            return
        try:
            if self._inner is None:
                self._inner = self._begin()
                self._pump = self._loop.create_task(self._carry(), context=Context())
            self._inner.send(request)
        except Status as status:
            self._back(self._hear, status)

    def _end_requests(self) -> None:
        if self._inner is not None:
            self._inner.done_writing()

    async def _carry(self) -> None:
        """Take along what the service says, until one of both ends it."""
        while True:
            try:
                responses = await self._inner.read()
            except Status as status:
                self._back(self._hear, status)
                return
            if self._process.dead or self._closed:
                self._inner.close()  # nobody is there to hear it
                return
            if responses is None:
                self._back(self._hear, None)
                return
            if self._is_cut("cut"):
                return
            self._back(self._hear, responses)

    def _hear(self, heard: Sequence[Any] | Status | None) -> None:
        if self._process.dead and not self._closed:
            return
        if isinstance(heard, Status):
            self._note(f"fails with {heard.code.name}")
        elif heard:
            self._note(f"hears {len(heard)} responses")
        self._heard.append(heard)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _hang_up(self) -> None:
        if self._inner is not None:
            self._inner.close()
